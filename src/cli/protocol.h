/* What the files of `blemish protocol` share. */
#ifndef BLEMISH_CLI_PROTOCOL_H
#define BLEMISH_CLI_PROTOCOL_H

#include "cli.h"

enum { PROTOCOL_METRICS = 5, PROTOCOL_LIST_MAX = 64 };

/* One of the numbers of masks that are tried. */
typedef struct MaskChoice {
    char label[32]; /* "all", "50 %", "53" */
    double ratio;
    int64_t count; /* -1: by ratio */
} MaskChoice;

/* The base recipe, or an ablation on top of it. */
typedef struct Variation {
    const char *name; /* "base" */
    BlemishRecipe *recipe;
} Variation;

/* One training: indices into the protocol's lists. */
typedef struct Run {
    size_t category, masks, variation, backbone, fold, seed;
    bool done;
    double values[PROTOCOL_METRICS]; /* in the order of protocol_metrics, NaN where undefined */
} Run;

typedef struct Protocol {
    const char *data;                /* the folder or manifest */
    BlemishDatasetSettings settings; /* its layout and split; the rest is set for each run */
    const char *set;  /* the recipe's name without folder and ending: where published figures are looked up */
    const char *name; /* of the only category, where it has none of its own */
    const char *out, *weights;
    uint64_t threads, cache_mb;
    bool keep_models;
    const char *categories[PROTOCOL_LIST_MAX]; /* NULL: the data set itself */
    MaskChoice masks[PROTOCOL_LIST_MAX];
    Variation variations[PROTOCOL_LIST_MAX];
    const char *backbones[PROTOCOL_LIST_MAX];
    int folds[PROTOCOL_LIST_MAX];
    size_t category_count, mask_count, variation_count, backbone_count, fold_count, seed_count;
    Run *runs;
    size_t run_count;
} Protocol;

/* The five columns: the key in files and the heading. */
extern const struct ProtocolMetric { const char *key, *title; } protocol_metrics[PROTOCOL_METRICS];

/* What a category (an index into the list) is called. */
const char *protocol_category(const Protocol *p, size_t category);

/* ---- protocol_run.c -------------------------------------------------------------------------------------- */
/* Trains and evaluates unless metrics.json of the same identity is there already; fills run->values and run->done. A
 * stopped run leaves a checkpoint to continue from. Returns an exit code, what went wrong was printed; *stopped: by a
 * signal. */
int protocol_run(const Protocol *p, Run *run, ProgressBar *bar, bool *stopped);

/* Opens the data set of a run, the caller's; a failure is printed. NULL then. */
BlemishDataset *protocol_data(const Protocol *p, const Run *run);

/* ---- protocol_table.c ------------------------------------------------------------------------------------ */
/* Writes results.md, results.csv and results.json into the output folder from the runs that are done. */
int protocol_tables(const Protocol *p);

/* ---- protocol_published.c -------------------------------------------------------------------------------- */
#define PUBLISHED_BACKBONE "wide_resnet50_2"
/* Figures of the papers, percent, NaN where a paper has none. */
typedef struct Published {
    const char *set, *category; /* "mean" over the categories, "" of a set that has none */
    const char *masks;          /* MaskChoice.label */
    const char *source;
    double values[PROTOCOL_METRICS];
} Published;
/* The index-th figure; NULL past the end. */
const Published *protocol_published(size_t index);

#endif
