/* train: the recipe, synthetic anomalies, loss, optimiser and the trainer. Everything here works on the frozen
 * backbone's low-resolution features; nothing is ever computed at full feature resolution that need not be. */
#ifndef BLEMISH_TRAIN_H
#define BLEMISH_TRAIN_H

#include "base/base.h"
#include "data/data.h"
#include "net/net.h"

/* ---- recipe.c: every number of docs/recipes.md ---------------------------------------------------------- */
typedef enum Regime { REGIME_AUTO, REGIME_UNSUPERVISED, REGIME_SUPERVISED } Regime;
typedef enum Variant { VARIANT_JIMS, VARIANT_ICPR } Variant;
typedef enum NoiseMask { MASK_PERLIN, MASK_UNIFORM, MASK_NONE } NoiseMask;

/* The comment's first words are the key's default. "auto" is stored as a negative number. */
typedef struct Recipe {
    int regime;                           /* Regime; auto: supervised when a training image is labelled defective */
    int variant;                          /* Variant; jims, or icpr: the classification head sees A(F) */
    size_t height, width;                 /* 256 256: network input, 32 to 4096 */
    size_t hidden;                        /* 1024: the segmentation head's width, a multiple of 64 */
    size_t epochs, batch;                 /* 300, 32 */
    int bf16;                             /* auto: 1 where the processor multiplies bfloat16 matrices */
    uint64_t seed;                        /* 0 */
    double adaptor_lr, adaptor_decay;     /* 1e-4, 1e-2 */
    double head_lr, head_decay;           /* 2e-4, 1e-5 */
    double lr_drop;                       /* 0.4: factor at each of the two fractions of the epochs below */
    double lr_drop_first, lr_drop_second; /* 0.8, 0.9 */
    double clip;                          /* auto: 1 when supervised, 0 (off) otherwise */
    int stop_grad;                        /* auto: 1 when unsupervised */
    double noise_std;                     /* 0.015, on the normalised feature scale */
    double feature_scale;                 /* auto: measured on the training images (docs/architecture.md) */
    double perlin_threshold;              /* auto: 0.2 when unsupervised, 0.6 when supervised */
    int flips;                            /* 1: supervised only, each anomalous image in four flips */
    size_t dilate; /* 7: side of the square that masks are dilated by when supervised; 1: off; odd */
    int rotate;    /* 0; 1: images are shown in four quarter turns */
    double brightness, contrast, shift; /* 0 0 0: largest changes, relative, relative and of the side */
    size_t variants;      /* 4: random variants of those three that are kept of an image; 0: drawn at every showing */
    int tiles;            /* 0; 1: images are cut into tiles of the network's input size */
    double tile_overlap;  /* 0.25: part of a tile's side that neighbours share at least */
    int distance_weights; /* 1: the loss weights D (docs/recipes.md), supervised only */
    int align_corners;    /* 1 */
    int upscale;          /* 1; 0: the feature resolution is layer2's */
    int classification;   /* 1; 0: no classification head, the score is the map's maximum */
    int mask;             /* NoiseMask; perlin: where noise is added */
    int segmentation;     /* 1; 0: the map learns from the score's loss alone */
} Recipe;

/* recipe_set's limits keep every product of sizes in training below 2^48 bytes. */
_Static_assert(sizeof(size_t) >= 8, "products of a recipe's sizes are formed unchecked");

void recipe_defaults(Recipe *recipe);
/* key: a full name or its last part; "size" (HxW, or one number for a square) stands for height and width. */
BlemishStatus recipe_set(Recipe *recipe, const char *key, const char *value, Error *e);
/* Index of a key by its full name ("train.epochs") or the last part of it; SIZE_MAX where there is none. */
size_t recipe_find(const char *name);
/* index-th key, its value as text that recipe_set takes back, its help line; false past the end. */
bool recipe_key(const Recipe *recipe, size_t index, const char **key, char value[64], const char **help);
/* All keys as one JSON object of sections, for the model file; recipe_load takes it back. */
void recipe_json(const Recipe *recipe, Text *out);
/* Replaces every "auto" but feature_scale by its meaning; `defects`: the training split has a labelled defect. */
void recipe_resolve(Recipe *recipe, bool defects);

/* ---- recipe_yaml.c --------------------------------------------------------------------------------------- */
/* Sets what a YAML file of sections says and leaves the other keys alone; changes nothing on failure. Anchors, aliases,
 * tags, repeated keys, lists and deeper nesting are refused; errors are "PATH:LINE: ...". */
BlemishStatus recipe_load(Recipe *recipe, const char *path, Error *e);
/* The same from text; errors are "NAME:LINE: ...". */
BlemishStatus recipe_parse(Recipe *recipe, const char *name, const char *text, size_t length, Error *e);

/* ---- trainer.c ------------------------------------------------------------------------------------------- */
/* Trains heads on the manifest's training samples (unknown labels are left out; an anomalous image without a mask has
 * gamma = 0). recipe comes in resolved except for feature_scale, which is filled in. Uses settings' checkpoint,
 * resume, log, threads, cache and progress fields. fingerprint (64 hex digits) ties a checkpoint to its data.
 * On BLEMISH_OK *heads is open and the caller's to close; on any failure it is closed. */
BlemishStatus train_run(Heads *heads, const Trunk *trunk, const Manifest *manifest, const char *fingerprint,
                        Recipe *recipe, const BlemishTrainSettings *settings, Error *e);

#endif
