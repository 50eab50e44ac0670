-- Generated from milstore.schema.tables: do not edit.

CREATE TABLE IF NOT EXISTS classes (
    label INTEGER NOT NULL,
    class_name VARCHAR NOT NULL,
    PRIMARY KEY (label),
    UNIQUE (class_name)
);

comment on table classes is 'The classes a case can belong to.';

comment on column classes."label" is 'number of the class, from 0';

comment on column classes."class_name" is 'name of the class, such as benign';

CREATE TABLE IF NOT EXISTS earlier_runs (
    run_id VARCHAR NOT NULL,
    data_fingerprint VARCHAR NOT NULL,
    PRIMARY KEY (run_id)
);

comment on table earlier_runs is 'Runs of milstore 0.1 whose data were the store''s on the day on which it was brought to schema 2.';

comment on column earlier_runs."run_id" is 'the run';

comment on column earlier_runs."data_fingerprint" is 'what runs.data_fingerprint would say of it';

CREATE TABLE IF NOT EXISTS grids (
    grid VARCHAR NOT NULL,
    tool VARCHAR,
    edge INTEGER,
    mpp DOUBLE,
    overlap INTEGER,
    PRIMARY KEY (grid)
);

comment on table grids is 'The grids that patches were cut on. Encoders of one slide may use different ones.';

comment on column grids."grid" is 'name of the grid, such as 256px-0.5mpp';

comment on column grids."tool" is 'what cut the patches; null if unknown';

comment on column grids."edge" is 'edge of a patch at the encoder''s input, in pixels; null if unknown';

comment on column grids."mpp" is 'micrometres a pixel at the encoder''s input; null if unknown';

comment on column grids."overlap" is 'pixels that neighbours share at the encoder''s input; null if unknown';

CREATE TABLE IF NOT EXISTS pack_cases (
    encoder VARCHAR NOT NULL,
    pack INTEGER NOT NULL,
    case_id VARCHAR NOT NULL,
    n_patches INTEGER NOT NULL,
    sha256 VARCHAR NOT NULL,
    PRIMARY KEY (encoder, pack, case_id)
);

comment on table pack_cases is 'What each pack holds of each case.';

comment on column pack_cases."encoder" is 'the encoder';

comment on column pack_cases."pack" is 'the pack';

comment on column pack_cases."case_id" is 'the case';

comment on column pack_cases."n_patches" is 'patches of the case in the pack';

comment on column pack_cases."sha256" is 'SHA-256 over the case''s vectors and the patches they belong to';

CREATE TABLE IF NOT EXISTS packs (
    encoder VARCHAR NOT NULL,
    pack INTEGER NOT NULL,
    n_patches INTEGER NOT NULL,
    fingerprint VARCHAR NOT NULL,
    folder VARCHAR NOT NULL,
    source VARCHAR NOT NULL,
    PRIMARY KEY (encoder, pack)
);

comment on table packs is 'Packs of features: files that are added as a cohort grows, and never rewritten.';

comment on column packs."encoder" is 'the encoder';

comment on column packs."pack" is 'number of the pack, from 1';

comment on column packs."n_patches" is 'patches that have a feature vector in it';

comment on column packs."fingerprint" is 'SHA-256 over its vectors and the patches they belong to';

comment on column packs."folder" is 'its folder, below the store';

comment on column packs."source" is 'where its features came from';

CREATE TABLE IF NOT EXISTS patch_roots (
    root VARCHAR NOT NULL,
    PRIMARY KEY (root)
);

comment on table patch_roots is 'Where the patch images lie; at most one row.';

comment on column patch_roots."root" is 'folder that patches.file is relative to: absolute, or below the store';

CREATE TABLE IF NOT EXISTS split_sets (
    split_set VARCHAR NOT NULL,
    n_splits INTEGER NOT NULL,
    source VARCHAR NOT NULL,
    PRIMARY KEY (split_set)
);

comment on table split_sets is 'Named families of splits.';

comment on column split_sets."split_set" is 'name of the family of splits';

comment on column split_sets."n_splits" is 'how many splits it has';

comment on column split_sets."source" is 'where it came from: the files'' names, or how it was drawn';

CREATE TABLE IF NOT EXISTS stains (
    stain VARCHAR NOT NULL,
    stain_order INTEGER NOT NULL,
    PRIMARY KEY (stain)
);

comment on table stains is 'The stains of the store, from milstore.toml.';

comment on column stains."stain" is 'canonical name of the stain, such as h&e';

comment on column stains."stain_order" is 'position of the stain in tables and charts, from 0';

CREATE TABLE IF NOT EXISTS cases (
    case_id VARCHAR NOT NULL,
    case_order INTEGER NOT NULL,
    label INTEGER,
    class_name VARCHAR,
    source_label VARCHAR,
    PRIMARY KEY (case_id),
    FOREIGN KEY(label) REFERENCES classes (label)
);

comment on table cases is 'The cases, with the label that is believed now. A run keeps the label it saw.';

comment on column cases."case_id" is 'the case (one patient''s lesion); ids that are all digits carry no leading zeros';

comment on column cases."case_order" is 'position of the case in natural order (2 before 10), from 0';

comment on column cases."label" is 'number of its class; null while no label is known';

comment on column cases."class_name" is 'name of its class; null while no label is known';

comment on column cases."source_label" is 'the label as it stood in the label file, such as 3';

CREATE TABLE IF NOT EXISTS encoders (
    encoder VARCHAR NOT NULL,
    n_features INTEGER NOT NULL,
    dtype VARCHAR NOT NULL,
    n_patches INTEGER NOT NULL,
    fingerprint VARCHAR NOT NULL,
    folder VARCHAR NOT NULL,
    source VARCHAR NOT NULL,
    grid VARCHAR,
    mpp DOUBLE,
    patch_px INTEGER,
    tool VARCHAR,
    weights_sha256 VARCHAR,
    PRIMARY KEY (encoder),
    FOREIGN KEY(grid) REFERENCES grids (grid)
);

comment on table encoders is 'The encoders whose features the store holds.';

comment on column encoders."encoder" is 'name of what made the features';

comment on column encoders."n_features" is 'length of a feature vector';

comment on column encoders."dtype" is 'number type in the packed file: float16 or float32';

comment on column encoders."n_patches" is 'patches that have a feature vector';

comment on column encoders."fingerprint" is 'SHA-256 over the vectors and the patches they belong to';

comment on column encoders."folder" is 'folder of its first pack, below the store';

comment on column encoders."source" is 'where the features came from';

comment on column encoders."grid" is 'the grid of its patches; null if unknown';

comment on column encoders."mpp" is 'micrometres a pixel at its input; null if unknown';

comment on column encoders."patch_px" is 'edge of a patch at its input, in pixels; null if unknown';

comment on column encoders."tool" is 'the program that made the features; null if unknown';

comment on column encoders."weights_sha256" is 'SHA-256 over the encoder''s weights; null if unknown';

CREATE TABLE IF NOT EXISTS case_attributes (
    case_id VARCHAR NOT NULL,
    name VARCHAR NOT NULL,
    value VARCHAR NOT NULL,
    PRIMARY KEY (case_id, name),
    FOREIGN KEY(case_id) REFERENCES cases (case_id)
);

comment on table case_attributes is 'Whatever else a group''s tables say of a case, so that a question may go by it.';

comment on column case_attributes."case_id" is 'the case';

comment on column case_attributes."name" is 'name of the attribute, such as site or age';

comment on column case_attributes."value" is 'its value as text';

CREATE TABLE IF NOT EXISTS case_groups (
    case_id VARCHAR NOT NULL,
    group_id VARCHAR NOT NULL,
    PRIMARY KEY (case_id),
    FOREIGN KEY(case_id) REFERENCES cases (case_id)
);

comment on table case_groups is 'Cases that must not be parted over the subsets of a split, such as those of one patient.';

comment on column case_groups."case_id" is 'the case';

comment on column case_groups."group_id" is 'what the case shares with others of its group, such as the patient';

CREATE TABLE IF NOT EXISTS slides (
    slide_id VARCHAR NOT NULL,
    case_id VARCHAR NOT NULL,
    stain VARCHAR NOT NULL,
    slice_name VARCHAR,
    block VARCHAR,
    mpp DOUBLE,
    magnification DOUBLE,
    width INTEGER,
    height INTEGER,
    vendor VARCHAR,
    path VARCHAR,
    PRIMARY KEY (slide_id),
    FOREIGN KEY(case_id) REFERENCES cases (case_id),
    FOREIGN KEY(stain) REFERENCES stains (stain)
);

comment on table slides is 'Whole slides: which is of whom. A slide holds one slice or several.';

comment on column slides."slide_id" is 'the slide: the stem of its file''s name';

comment on column slides."case_id" is 'the case it is of';

comment on column slides."stain" is 'its stain';

comment on column slides."slice_name" is 'name of the slice that it is; null where that is the slide''s id';

comment on column slides."block" is 'the tissue block it was cut from; null if unknown';

comment on column slides."mpp" is 'micrometres a pixel of level 0; null if unknown';

comment on column slides."magnification" is 'objective magnification of level 0, such as 40; null if unknown';

comment on column slides."width" is 'width in pixels of level 0; null if unknown';

comment on column slides."height" is 'height in pixels of level 0; null if unknown';

comment on column slides."vendor" is 'maker of the scanner; null if unknown';

comment on column slides."path" is 'where the slide''s file lies; null if unknown';

CREATE TABLE IF NOT EXISTS splits (
    split_set VARCHAR NOT NULL,
    split INTEGER NOT NULL,
    case_id VARCHAR NOT NULL,
    subset VARCHAR NOT NULL,
    PRIMARY KEY (split_set, split, case_id),
    FOREIGN KEY(split_set) REFERENCES split_sets (split_set),
    FOREIGN KEY(case_id) REFERENCES cases (case_id)
);

comment on table splits is 'Which subset each case is in, for each split.';

comment on column splits."split_set" is 'the split set';

comment on column splits."split" is 'the split: its number in the file that it came from';

comment on column splits."case_id" is 'the case';

comment on column splits."subset" is 'train, val or test';

CREATE TABLE IF NOT EXISTS slices (
    case_id VARCHAR NOT NULL,
    stain VARCHAR NOT NULL,
    slice_idx INTEGER NOT NULL,
    slice_name VARCHAR NOT NULL,
    n_patches INTEGER NOT NULL,
    slide_id VARCHAR,
    PRIMARY KEY (case_id, stain, slice_idx),
    FOREIGN KEY(case_id) REFERENCES cases (case_id),
    FOREIGN KEY(stain) REFERENCES stains (stain),
    FOREIGN KEY(slide_id) REFERENCES slides (slide_id)
);

comment on table slices is 'The slices (tissue sections) of each case and stain.';

comment on column slices."case_id" is 'the case';

comment on column slices."stain" is 'the stain';

comment on column slices."slice_idx" is 'number of the slice within case and stain, from 0: given once, later slices get the next; order for people comes from slice_name';

comment on column slices."slice_name" is 'the slice''s name as the files give it, such as match_1';

comment on column slices."n_patches" is 'patches of the slice, of all grids';

comment on column slices."slide_id" is 'the slide it lies on; null if unknown';

CREATE TABLE IF NOT EXISTS patch_regions (
    case_id VARCHAR NOT NULL,
    stain VARCHAR NOT NULL,
    slice_idx INTEGER NOT NULL,
    patch_idx INTEGER NOT NULL,
    region VARCHAR NOT NULL,
    PRIMARY KEY (case_id, stain, slice_idx, patch_idx, region),
    FOREIGN KEY(case_id, stain, slice_idx) REFERENCES slices (case_id, stain, slice_idx)
);

comment on table patch_regions is 'The annotated regions that patches lie in; a patch may lie in several.';

comment on column patch_regions."case_id" is 'the case';

comment on column patch_regions."stain" is 'the stain';

comment on column patch_regions."slice_idx" is 'the slice';

comment on column patch_regions."patch_idx" is 'the patch';

comment on column patch_regions."region" is 'name of the annotated region that the patch''s centre lies in';
