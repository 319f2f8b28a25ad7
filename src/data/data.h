/* data: the manifest every layout is read into, splits, sampling, procedural images. */
#ifndef BLEMISH_DATA_H
#define BLEMISH_DATA_H

#include "base/base.h"
#include "image/image.h"

/* ---- problems.c: what is wrong with a data set, one line each ------------------------------------------- */
typedef struct Problems {
    BlemishProblem *items;
    size_t count, capacity;
} Problems;
BlemishStatus problems_add(Problems *p, BlemishProblemKind kind, Error *e, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
void problems_close(Problems *p);

/* ---- manifest.c ----------------------------------------------------------------------------------------- */
/* The part of an image that is meant: all of it, or the window at (y, x) of the network's input size. */
typedef struct Tile {
    bool cut;
    size_t y, x;
} Tile;

typedef struct Sample {
    char *path, *mask_path; /* mask_path as mask_read takes it, NULL where there is none */
    char *unused_mask;      /* a good image's mask: manifest_check looks whether it is empty */
    char *type;             /* defect type or "good" */
    BlemishLabel label;
    BlemishSplit split;
    Tile tile; /* in training by tiles (train/pieces.h); a manifest's samples are whole */
} Sample;

typedef struct Manifest {
    Sample *samples;
    size_t count, capacity;
    const char *layout;
    size_t validation; /* images that a layout keeps for validation, which is no split here */
    bool masks_chosen; /* by a published split: settings choose no more */
    Problems problems; /* found while reading, where the settings are tolerant */
} Manifest;

/* Reads a folder or a CSV into a manifest sorted by path (strcmp), so that the order never depends on the file
 * system. settings is never NULL here. Errors name the path and what was looked for. */
BlemishStatus manifest_open(Manifest *out, const char *path, const BlemishDatasetSettings *settings, Error *e);
/* Appends a copy of *sample; the mask of a good one becomes its unused_mask. For the readers. */
BlemishStatus manifest_add(Manifest *m, const Sample *sample, Error *e);
void manifest_close(Manifest *m);
/* Seeded split: of each type, in path order shuffled by (seed, type name), the first round(fraction * n) become the
 * test split - at least one (unless fraction is 0) and at most n - 1 (unless it is 1) when n > 1. */
BlemishStatus manifest_split(Manifest *m, double test_fraction, uint64_t seed, Error *e);
/* sha256 (hex) over every sample's file name (relative to the folder that all share), label, split, file content and
 * mask content: the data fingerprint. */
BlemishStatus manifest_fingerprint(const Manifest *m, char hex[65], Error *e);

/* ---- mask.c --------------------------------------------------------------------------------------------- */
/* Reads masks in any form that a mask_path names (docs/data.md): an image; a folder of images, which are united;
 * LabelMe or COCO .json, YOLO segmentation .txt. Zeroed to start with; it keeps the last JSON file, because one of
 * COCO's describes many images. */
typedef struct MaskReader {
    size_t width, height; /* what the last mask was drawn for */
    char *json_path;
    struct json_t *json;
} MaskReader;
/* One channel of 0 and 1, polygons at the image's size. mask->data is NULL, without an error, where no pixel is set:
 * such a mask says nothing of where the defect is. */
BlemishStatus mask_read(MaskReader *r, const char *mask_path, const char *image_path, BlemishImage *mask, Error *e);
void mask_reader_close(MaskReader *r);

/* ---- check.c -------------------------------------------------------------------------------------------- */
/* blemish_dataset_check's report with the arrays it points to. */
typedef struct Check {
    BlemishDataReport report;
    Problems problems;
    BlemishSizeCount *sizes;
    size_t size_capacity;
} Check;
BlemishStatus manifest_check(Check *check, const Manifest *m, BlemishProgressFn progress, void *user, Error *e);
void check_close(Check *check);
/* How many of a split's masks have another size than their image, and the index of the first such sample. Reads masks
 * and the images' headers; what cannot be read does not count: training and evaluation will name it. */
BlemishStatus manifest_resized_masks(const Manifest *m, BlemishSplit split, size_t *count, size_t *first, Error *e);

/* ---- sampler.c ------------------------------------------------------------------------------------------ */
typedef enum Flip { FLIP_NONE = 0, FLIP_VERTICAL = 1, FLIP_HORIZONTAL = 2, FLIP_BOTH = 3 } Flip;
typedef struct Draw {
    size_t sample; /* index into the sampler's own list */
    Flip flip;
} Draw;
/* What one epoch shows. Unsupervised: every normal image once. Supervised: each anomalous image 4 times (every Flip)
 * and as many normal ones, the least-shown first. State is only the counts, so that a checkpoint can hold it. */
typedef struct Sampler {
    size_t normals, anomalies; /* normals have sampler indices 0..normals-1, anomalies follow */
    bool supervised;
    int flips; /* 1: anomalous images in all four flips; 0: as is, still 4 times */
    uint64_t seed;
    uint32_t *shown; /* normals: times shown so far */
} Sampler;
BlemishStatus sampler_open(Sampler *s, size_t normals, size_t anomalies, bool supervised, bool flips, uint64_t seed,
                           Error *e);
size_t sampler_epoch_length(const Sampler *s);
/* The epoch's draws in shuffled order, a function of (seed, epoch, shown); updates shown. draws has epoch_length. */
BlemishStatus sampler_epoch(Sampler *s, size_t epoch, Draw *draws, Error *e);
void sampler_close(Sampler *s);

/* ---- synth.c -------------------------------------------------------------------------------------------- */
BlemishStatus synth_write(const char *dir, const BlemishSynthSettings *settings, Error *e);

#endif
