-- Generated from milstore.schema.tables: do not edit.

CREATE TABLE IF NOT EXISTS patches (
    case_id VARCHAR NOT NULL,
    stain VARCHAR NOT NULL,
    slice_idx INTEGER NOT NULL,
    patch_idx INTEGER NOT NULL,
    file VARCHAR,
    x INTEGER,
    y INTEGER,
    width INTEGER,
    height INTEGER,
    unit VARCHAR,
    grid VARCHAR,
    PRIMARY KEY (case_id, stain, slice_idx, patch_idx),
    FOREIGN KEY(case_id, stain, slice_idx) REFERENCES slices (case_id, stain, slice_idx),
    FOREIGN KEY(grid) REFERENCES grids (grid)
);

comment on table patches is 'The patches that the slices were cut into.';

comment on column patches."case_id" is 'the case';

comment on column patches."stain" is 'the stain';

comment on column patches."slice_idx" is 'the slice within case and stain';

comment on column patches."patch_idx" is 'number of the patch within the slice, given once: the number in its file''s name, or by (y, x) where it has none';

comment on column patches."file" is 'path of the patch''s image below the patch root; null if the patch is known from features alone';

comment on column patches."x" is 'left edge of the patch, in pixels of its unit; null if unknown';

comment on column patches."y" is 'upper edge of the patch, in pixels of its unit; null if unknown';

comment on column patches."width" is 'width of the patch, in pixels of its unit; null if unknown';

comment on column patches."height" is 'height of the patch, in pixels of its unit; null if unknown';

comment on column patches."unit" is 'what x, y, width and height count: slice (pixels of the slice) or level0 (pixels of the slide''s level 0); null without them';

comment on column patches."grid" is 'the grid it was cut on; null if unknown';
