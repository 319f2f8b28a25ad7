/* data: the manifest every layout is read into, splits, sampling, procedural images. */
#ifndef BLEMISH_DATA_H
#define BLEMISH_DATA_H

#include "base/base.h"
#include "image/image.h"

/* ---- manifest.c ----------------------------------------------------------------------------------------- */
typedef struct Sample {
    char *path, *mask_path; /* mask_path NULL where there is none */
    char *type;             /* defect type or "good" */
    BlemishLabel label;
    BlemishSplit split;
} Sample;

typedef struct Manifest {
    Sample *samples;
    size_t count, capacity;
    const char *layout;
} Manifest;

/* Reads a folder or a CSV into a manifest sorted by path (strcmp), so that the order never depends on the file
 * system. settings is never NULL here. Errors name the path and what was looked for. */
BlemishStatus manifest_open(Manifest *out, const char *path, const BlemishDatasetSettings *settings, Error *e);
/* Appends a copy of *sample (mask_path may be NULL). For the readers. */
BlemishStatus manifest_add(Manifest *m, const Sample *sample, Error *e);
void manifest_close(Manifest *m);
/* Seeded split: of each type, in path order shuffled by (seed, type name), the first round(fraction * n) become the
 * test split - at least one (unless fraction is 0) and at most n - 1 (unless it is 1) when n > 1. */
BlemishStatus manifest_split(Manifest *m, double test_fraction, uint64_t seed, Error *e);
/* sha256 (hex) over every sample's file name (relative to the folder that all share), label, split, file content and
 * mask content: the data fingerprint. */
BlemishStatus manifest_fingerprint(const Manifest *m, char hex[65], Error *e);

/* ---- sampler.c (spec 6) --------------------------------------------------------------------------------- */
typedef enum Flip { FLIP_NONE = 0, FLIP_VERTICAL = 1, FLIP_HORIZONTAL = 2, FLIP_BOTH = 3 } Flip;
typedef struct Draw {
    size_t sample; /* index into the sampler's own list */
    Flip flip;
} Draw;
/* What one epoch shows. Unsupervised: every normal image once. Supervised: each anomalous image 4 times (every Flip)
 * and as many normal ones, the least-shown first. State is only the counts, so that a checkpoint can hold it. */
typedef struct Sampler {
    size_t normals, anomalies;  /* normals have sampler indices 0..normals-1, anomalies follow */
    bool supervised;
    int flips;                  /* 1: anomalous images in all four flips; 0: as is, still 4 times */
    uint64_t seed;
    uint32_t *shown;            /* normals: times shown so far */
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
