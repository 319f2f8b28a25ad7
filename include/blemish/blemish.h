/* blemish - surface-defect detection: train, judge and run SuperSimpleNet from C.
 *
 * Method: B. Rolih, M. Fucka, D. Skocaj, "No Label Left Behind" (2025, arXiv 2508.19060), called JIMS below, and
 * its conference form "SuperSimpleNet" (ICPR 2024).
 *
 * Conventions
 *  - Every function that can fail returns a BlemishStatus; BLEMISH_OK is 0, every failure is negative.
 *  - Handles are opaque. A function that makes a handle stores one in *out even when it fails (except when memory
 *    is short: then *out is NULL), so that blemish_*_error(handle) tells why; close it in either case.
 *    blemish_*_close(NULL) does nothing.
 *  - Functions without a handle take `char *error` (BLEMISH_ERROR_SIZE bytes, or NULL) for the same one-line text.
 *  - Text is UTF-8, one line, without a newline: "file: field: what was found, what was expected".
 *  - A handle is used by one thread at a time; different handles may be used by different threads at the same time.
 *    Sessions opened from one model share its weights, so the model outlives its sessions.
 *  - There is no global state. Memory reached through a handle belongs to the handle.
 *  - Settings structs are filled by their _defaults function first; a program then changes what it cares about.
 */
#ifndef BLEMISH_H
#define BLEMISH_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define BLEMISH_API __attribute__((visibility("default")))
#else
#define BLEMISH_API
#endif

#define BLEMISH_ERROR_SIZE 1024

typedef enum BlemishStatus {
    BLEMISH_OK = 0,
    BLEMISH_ERROR_ARGUMENT = -1,    /* the caller's arguments: a null pointer, an unknown name, a value out of range */
    BLEMISH_ERROR_MEMORY = -2,      /* memory is short, or a size would overflow */
    BLEMISH_ERROR_IO = -3,          /* a file could not be opened, read or written (disk full, no permission) */
    BLEMISH_ERROR_FORMAT = -4,      /* a file is not what it should be: truncated, corrupt, hostile */
    BLEMISH_ERROR_UNSUPPORTED = -5, /* understood, but this build or machine cannot do it */
    BLEMISH_ERROR_INTERRUPTED = -6, /* the progress callback asked to stop; what was finished is kept */
    BLEMISH_ERROR_NETWORK = -7,     /* a download failed */
    BLEMISH_ERROR_INTERNAL = -8     /* a defect of the library */
} BlemishStatus;

/* "1.2.3": the version of the library that is running. */
BLEMISH_API const char *blemish_version(void);

/* ---- images ---------------------------------------------------------------------------------------------- */

/* 8-bit interleaved pixels: row y starts at data + y * stride; channels is 1 (grey) or 3 (RGB). */
typedef struct BlemishImage {
    const uint8_t *data;
    size_t width, height, stride;
    int channels;
} BlemishImage;

/* Decodes a JPEG, PNG, TIFF or BMP file, recognised by its content, to RGB: grey is replicated, 16 bits scaled, alpha
 * dropped, EXIF orientation honoured. image->data is owned by the caller: blemish_image_free. Errors: IO; FORMAT for
 * what is no such image, damaged, cut short, or larger than 65500 pixels a side or 2^28 in all; UNSUPPORTED for valid
 * files that are not grey or RGB in integers (CMYK, float TIFF) and compressed BMP; MEMORY. The image is then empty. */
BLEMISH_API BlemishStatus blemish_image_load(BlemishImage *image, const char *path, char *error);
/* The same file as a mask: one channel, 1 where any colour is not 0 (in JPEG: from 128 up), else 0. */
BLEMISH_API BlemishStatus blemish_mask_load(BlemishImage *mask, const char *path, char *error);
BLEMISH_API void blemish_image_free(BlemishImage *image);

/* ---- models ---------------------------------------------------------------------------------------------- */

typedef struct BlemishModel BlemishModel;

/* What a model file says of itself. Strings belong to the model. */
typedef struct BlemishModelInfo {
    const char *backbone;         /* "builtin", "wide_resnet50_2", "resnet50", "resnet34", "resnet18" */
    const char *variant;          /* "jims" or "icpr" */
    const char *regime;           /* "unsupervised" or "supervised"; "none" before training */
    size_t height, width;         /* network input, pixels */
    size_t map_height, map_width; /* map logits (feature resolution), pixels */
    float threshold;              /* score at and above which an image is a defect; in [0, 1] */
    float pixel_threshold;        /* map value at and above which a pixel is part of a region; in [0, 1] */
    size_t min_area, border;      /* blemish_model_set_regions; 0 without */
    BlemishImage roi;        /* blemish_model_set_roi: 0 or 1 for each pixel of the network's input, valid until the
                              * next blemish_model_set_roi or the model's close; data is NULL without */
    double roi_share;        /* part of the image inside; 1 without */
    int tiles;               /* 1: images are judged by tiles of the input's size, see BlemishTiles */
    float tile_overlap;      /* part of a tile's side that neighbours share at least; 0 without tiles */
    const char *header_json; /* the whole header: recipe, metrics, data fingerprint, program version; valid until
                              * the next blemish_model_set_* of the model or its close */
} BlemishModelInfo;

/* Opens a model file (docs/model-file.md). The heads are copied; the file stays open until the model's close, and the
 * backbone is read from it by each session's opening, a session's first run of fewer images than its batch,
 * blemish_model_save and blemish_model_quantise. It may be replaced or deleted meanwhile; once it was written to in
 * place, these fail with BLEMISH_ERROR_IO. */
BLEMISH_API BlemishStatus blemish_model_open(BlemishModel **out, const char *path);
/* A model with untrained heads for an input of height x width (32 or more each). weights is a torchvision .pth, a
 * .safetensors file or NULL; with NULL "builtin" has its own weights, and of other backbones every parameter, the
 * heads' too, has its test value (a function of its name alone), which is what benchmarks run on. */
BLEMISH_API BlemishStatus blemish_model_untrained(BlemishModel **out, const char *backbone, const char *weights,
                                                  size_t height, size_t width);
/* Writes the model file: to a temporary name, fsync, rename. */
BLEMISH_API BlemishStatus blemish_model_save(BlemishModel *model, const char *path);
BLEMISH_API BlemishModelInfo blemish_model_info(const BlemishModel *model);
/* Sets the thresholds a session compares with and a saved file carries; both in [0, 1]. A calibration keeps its verdict
 * and probabilities and says that its thresholds were given. Sessions that are open compare
 * with them from their next run on; no session of the model may be running in another thread meanwhile. */
BLEMISH_API BlemishStatus blemish_model_set_thresholds(BlemishModel *model, float threshold, float pixel_threshold);
#define BLEMISH_MIN_AREA_MAX 268435456 /* 2^28 */
#define BLEMISH_BORDER_MAX 65500
/* What counts as a region, in pixels of the image; a saved file carries both, and 0 turns either off.
 * min_area: blemish_session_regions leaves out smaller ones. Nothing else changes.
 * border: within it the map is 0, in a map of another size than the image wherever a pixel's centre is nearer to an
 * edge. map_max, and verdicts made of it, come from the rest; the classification head still sees the whole image. A
 * larger border never raises map_max. A run refuses an image of which the border leaves nothing.
 * Another border makes other maps: the model's metrics are dropped, and a calibration says that its pixel threshold was
 * given; where the verdict is made of the map, what blemish_model_set_roi drops goes, too. Calibrate again. Sessions
 * follow as with blemish_model_set_thresholds. */
BLEMISH_API BlemishStatus blemish_model_set_regions(BlemishModel *model, size_t min_area, size_t border);
/* The region of interest: where mask, one channel of any size that stands for the whole image, is 0, nothing counts. It
 * is brought to the network's input by its nearest pixels and kept in a saved file; NULL, or a mask that leaves nothing
 * out: all counts. Outside the network sees the ImageNet mean instead of the image, and the map is 0: score, map and
 * verdict do not depend on what is there (docs/regions.md). Where that changes anything, scores mean something else
 * than before: a calibration keeps its verdict, but its probabilities and error rates are dropped, as are the model's
 * metrics; calibrate again. ARGUMENT for a mask without a pixel that counts, another form, and a model by tiles.
 * Sessions follow as with blemish_model_set_thresholds. */
BLEMISH_API BlemishStatus blemish_model_set_roi(BlemishModel *model, const BlemishImage *mask);
BLEMISH_API const char *blemish_model_error(const BlemishModel *model);
BLEMISH_API void blemish_model_close(BlemishModel *model);

/* ---- sessions: running a model --------------------------------------------------------------------------- */

typedef struct BlemishSession BlemishSession;

typedef enum BlemishPrecision {
    BLEMISH_PRECISION_AUTO = 0, /* the model's own: int8 of a quantised one where the processor can, else fp32 */
    BLEMISH_PRECISION_FP32 = 1,
    BLEMISH_PRECISION_BF16 = 2, /* convolutions and products in bfloat16, where the processor has them */
    BLEMISH_PRECISION_INT8 = 3  /* of a quantised model; on x86-64 where the processor has VNNI */
} BlemishPrecision;

/* By tiles: an image is not resized to the network's input but covered by overlapping tiles of that size, at its own
 * resolution. Its map is their maps, blended, its score the largest of theirs (docs/tiles.md). Thresholds are of the
 * way that the model says; the other way shows the network another scale than it learned. */
typedef enum BlemishTiles {
    BLEMISH_TILES_AUTO = 0, /* as the model says */
    BLEMISH_TILES_OFF = 1,
    BLEMISH_TILES_ON = 2
} BlemishTiles;

typedef struct BlemishSessionSettings {
    int threads;                /* 1 to 1024; default 0 = one per core that affinity and CPU quota allow */
    BlemishPrecision precision; /* default BLEMISH_PRECISION_AUTO */
    size_t batch;               /* most images, or tiles of one, run at once, 1 to 1024; default 1 */
    BlemishTiles tiles;         /* default BLEMISH_TILES_AUTO */
} BlemishSessionSettings;

BLEMISH_API void blemish_session_defaults(BlemishSessionSettings *settings);
/* How many threads a session opened with threads 0 has here. */
BLEMISH_API int blemish_threads_default(void);

/* A connected part (8-connectivity) of the map at or above the pixel threshold, in pixels of the given image. */
typedef struct BlemishRegion {
    size_t x, y, width, height;    /* bounding box */
    size_t area;                   /* pixels */
    float peak;                    /* largest map value, in [0, 1] */
    double centroid_x, centroid_y; /* mean of its pixels' columns and rows, counted from 0 as x and y are: the
                                    * centroid of a single pixel is that pixel */
} BlemishRegion;

/* One image's result. Pointers belong to the session and are valid until its next run or close. */
typedef struct BlemishResult {
    float score;                      /* probability-like anomaly score in [0, 1]: sigmoid of the score logit, or
                                       * map_max where the model has no classification head; of a calibrated model
                                       * what blemish_calibrate chose, these two or both combined */
    float probability;                /* that the image is a defect, by the model's calibration; NaN without one */
    int defect;                       /* 1 when score >= the model's threshold */
    float map_max;                    /* largest value of the map: of what counts, where the model has a border */
    const float *map;                 /* anomaly map in [0, 1], map_height x map_width, row-major: the logits,
                                       * resized to the input's size and blurred, through the sigmoid; 0 in the
                                       * model's border and outside its region of interest */
    size_t map_width, map_height;     /* the network's input size; by tiles the image's */
    size_t image_width, image_height; /* the given image's size */
} BlemishResult;

/* settings may be NULL for the defaults. Memory grows with the batch. Errors: ARGUMENT for a setting out of range,
 * UNSUPPORTED for a precision that the processor or the model does not have, MEMORY. */
BLEMISH_API BlemishStatus blemish_session_open(BlemishSession **out, const BlemishModel *model,
                                               const BlemishSessionSettings *settings);
/* Runs count images, 1 to settings.batch; results has room for count. */
BLEMISH_API BlemishStatus blemish_session_run(BlemishSession *session, const BlemishImage *images, size_t count,
                                              BlemishResult *results);
/* Decodes and runs one file. */
BLEMISH_API BlemishStatus blemish_session_run_file(BlemishSession *session, const char *path, BlemishResult *result);
/* Resamples result->map bilinearly to the image's size: image_height x image_width floats in `map`, the caller's. */
BLEMISH_API BlemishStatus blemish_session_map_at_image_size(BlemishSession *session, const BlemishResult *result,
                                                            float *map);
/* Regions of the image-size map at or above the model's pixel threshold and of its least area, largest peak first.
 * *regions belongs to the session until its next call of this function or its close. */
BLEMISH_API BlemishStatus blemish_session_regions(BlemishSession *session, const BlemishResult *result,
                                                  const BlemishRegion **regions, size_t *count);
/* Writes the image with its map as a colour overlay and its region boxes (PNG). */
BLEMISH_API BlemishStatus blemish_session_write_overlay(BlemishSession *session, const BlemishImage *image,
                                                        const BlemishResult *result, const char *path);
/* Writes the image-size map as a 32-bit float grey TIFF. */
BLEMISH_API BlemishStatus blemish_session_write_map(BlemishSession *session, const BlemishResult *result,
                                                    const char *path);
BLEMISH_API const char *blemish_session_error(const BlemishSession *session);
BLEMISH_API void blemish_session_close(BlemishSession *session);

/* What a benchmark prints beside its times. */
typedef struct BlemishSessionCost {
    double gmac;           /* multiply-adds per image, in 1e9, as this library computes it */
    double gmac_published; /* the same for the graph as published (heads at full feature resolution) */
    const char *precision; /* "fp32", "bf16" or "int8" */
    int threads;
} BlemishSessionCost;
BLEMISH_API BlemishSessionCost blemish_session_cost(const BlemishSession *session);

/* ---- profiles: where the time goes ----------------------------------------------------------------------- */

/* One stage of a session ("preprocess", "stem", "layer1", "layer2", "layer3", "head mixes", "lift and heads", "smooth")
 * or of a training, summed over all of its turns. docs/performance.md tells what each one does. */
typedef struct BlemishStage {
    const char *name; /* never freed */
    uint64_t turns;
    double seconds;             /* wall clock */
    double gmac;                /* multiply-adds of its convolutions, products and lifts, in 1e9, by their definition:
                                 * an algorithm that needs fewer exceeds the machine's peak */
    double gb;                  /* what those read and write, in 1e9 bytes, each operand once */
    BlemishPrecision precision; /* of its convolutions and products; AUTO where it has none */
} BlemishStage;

/* 1: forgets what was counted and counts the runs that follow; 0 (as opened): stops, the stages stay. A run that is not
 * counted pays nothing for it. */
BLEMISH_API BlemishStatus blemish_session_set_profile(BlemishSession *session, int on);
/* The stages in the order they first ran; returns how many. *stages belongs to the session. */
BLEMISH_API size_t blemish_session_profile(const BlemishSession *session, const BlemishStage **stages);
/* Receives a training's stages, once, when it ends or is stopped; valid during the call. */
typedef void (*BlemishProfileFn)(void *user, const BlemishStage *stages, size_t count);

/* What this machine can do at most, measured: the best of several large matrix products in each precision (oneDNN's,
 * which BLEMISH_PRECISION_* index; 0 where the processor has none faster than fp32's) and of copies of 128 MiB. */
typedef struct BlemishPeak {
    double gmac_per_second[4];
    double gb_per_second; /* bytes read and bytes written */
    int threads;
} BlemishPeak;
/* Takes about a second. threads as in BlemishSessionSettings. Errors: ARGUMENT, MEMORY, INTERNAL. */
BLEMISH_API BlemishStatus blemish_peak_measure(int threads, BlemishPeak *peak, char *error);

/* ---- progress -------------------------------------------------------------------------------------------- */

typedef struct BlemishProgress {
    const char *stage;  /* "check", "learn region", "features", "train", "evaluate", "calibrate", "synth", "download" */
    size_t done, total; /* steps of this stage */
    size_t epoch, epochs; /* training only, else 0 */
    double loss;          /* mean loss of the last step; NaN outside training */
    double items_per_second;
    double seconds_left; /* estimate for this stage; negative while unknown */
} BlemishProgress;

/* Called often, from the calling thread. Return 0 to go on, non-zero to stop cleanly. */
typedef int (*BlemishProgressFn)(void *user, const BlemishProgress *progress);

/* ---- data sets ------------------------------------------------------------------------------------------- */

typedef struct BlemishDataset BlemishDataset;

typedef enum BlemishLabel { BLEMISH_LABEL_UNKNOWN = -1, BLEMISH_LABEL_GOOD = 0, BLEMISH_LABEL_DEFECT = 1 } BlemishLabel;
typedef enum BlemishSplit { BLEMISH_SPLIT_TRAIN = 0, BLEMISH_SPLIT_TEST = 1 } BlemishSplit;

typedef struct BlemishSample {
    const char *path;
    const char *mask_path; /* NULL where there is none: an image, a folder of them, or a file of polygons */
    const char *type;      /* defect type as the layout names it ("MT_Crack", "good"); never NULL */
    BlemishLabel label;
    BlemishSplit split;
} BlemishSample;

typedef struct BlemishDatasetSettings {
    const char *layout;   /* "auto" (default), "mvtec", "visa", "ksdd2", "sensum", "magnetic-tile", "folder", "csv" */
    const char *category; /* for layouts of several categories; default NULL: the only one, or dir itself */
    double test_fraction; /* of each type, for layouts without a split of their own; default 0.4 */
    uint64_t seed;        /* of that split and of the masks kept; default 0 */
    /* Masks that are kept in the training split, drawn by seed or as published (docs/data.md); the other defects are
     * then known by their label only. One of the two may be set. */
    int64_t mask_count; /* default -1: all */
    double mask_ratio;  /* a part of them, in [0, 1]; default 1: all */
    int fold;           /* 0 (default) to 2: which third SensumSODF is tested on; 0 for the other layouts */
    int tolerant;       /* 1: what a CSV names twice, or that is not there, is left to blemish_dataset_check;
                         * default 0: refused */
} BlemishDatasetSettings;

BLEMISH_API void blemish_dataset_defaults(BlemishDatasetSettings *settings);
/* path is a folder, or a .csv manifest (path,label,mask,split). settings may be NULL. docs/data.md tells the layouts.
 */
BLEMISH_API BlemishStatus blemish_dataset_open(BlemishDataset **out, const char *path,
                                               const BlemishDatasetSettings *settings);
BLEMISH_API size_t blemish_dataset_count(const BlemishDataset *dataset);
/* An index past the end gives a sample of unknown label with an empty path and type. */
BLEMISH_API BlemishSample blemish_dataset_sample(const BlemishDataset *dataset, size_t index);
/* The layout that was read ("magnetic-tile", ...). */
BLEMISH_API const char *blemish_dataset_layout(const BlemishDataset *dataset);

typedef enum BlemishProblemKind {
    BLEMISH_PROBLEM_IMAGE_UNREADABLE, /* not there, or not an image */
    BLEMISH_PROBLEM_MASK_UNREADABLE,
    BLEMISH_PROBLEM_MASK_EMPTY,   /* of a defective image, which is then known by its label only */
    BLEMISH_PROBLEM_MASK_OF_GOOD, /* a good image has a mask that is not empty; it is not used */
    BLEMISH_PROBLEM_MASK_SIZE,    /* another size than the image: it is resized */
    BLEMISH_PROBLEM_REPEATED,     /* the same image twice in one split */
    BLEMISH_PROBLEM_LEAKED,       /* the same image in both splits */
    BLEMISH_PROBLEM_KINDS
} BlemishProblemKind;

typedef struct BlemishProblem {
    BlemishProblemKind kind;
    const char *text; /* one line that begins with the file's path */
} BlemishProblem;

typedef struct BlemishSizeCount {
    size_t width, height, count; /* images of that size, pixels */
} BlemishSizeCount;

/* What reading every file of a data set found. Arrays of two are by BlemishSplit. */
typedef struct BlemishDataReport {
    size_t images[2], good[2], defects[2], unknown[2];
    size_t masks[2];      /* defective images with a mask */
    size_t score_only[2]; /* defective images without: they say what the score should be and nothing of the map */
    size_t validation;    /* images of MVTec LOCO's validation folder, which are in no split and not used */
    const BlemishSizeCount *sizes; /* the most frequent first */
    size_t size_count;
    const BlemishProblem *problems; /* by kind, then by path */
    size_t problem_count, problem_counts[BLEMISH_PROBLEM_KINDS];
} BlemishDataReport;

/* "mask-empty": the kind in a word; NULL past the last kind. */
BLEMISH_API const char *blemish_problem_name(BlemishProblemKind kind);
/* Decodes every image and mask. A problem is no failure. Pointers in the report belong to the data set until its next
 * check or close. progress may be NULL. A check that fails (MEMORY, or INTERRUPTED by progress) leaves a report of
 * zeros. */
BLEMISH_API BlemishStatus blemish_dataset_check(BlemishDataset *dataset, BlemishDataReport *report,
                                                BlemishProgressFn progress, void *progress_user);
/* How many defects of a split have a mask of another size than the image, which is resized, and the index of the first:
 * the part of the check that costs little. Reads the masks and the images' headers; files that cannot be read are not
 * counted. */
BLEMISH_API BlemishStatus blemish_dataset_resized_masks(BlemishDataset *dataset, BlemishSplit split, size_t *count,
                                                        size_t *first);
/* sha256, in hexadecimal, of every image's name below their common folder, label, split, content and mask: what a
 * trained model keeps of its data. Reads every file. */
BLEMISH_API BlemishStatus blemish_dataset_fingerprint(BlemishDataset *dataset, char hex[65]);
BLEMISH_API const char *blemish_dataset_error(const BlemishDataset *dataset);
BLEMISH_API void blemish_dataset_close(BlemishDataset *dataset);

/* ---- training -------------------------------------------------------------------------------------------- */

/* A recipe is every number of a training by its name; docs/recipes.md explains them, blemish_recipe_key lists them. */
typedef struct BlemishRecipe BlemishRecipe;

BLEMISH_API BlemishStatus blemish_recipe_new(BlemishRecipe **out);
/* Sets one key, by its full name or the last part of it, from text ("train.epochs" or "epochs", "50"). Unknown keys and
 * values out of range are refused. */
BLEMISH_API BlemishStatus blemish_recipe_set(BlemishRecipe *recipe, const char *key, const char *value);
/* Sets what a YAML file says, section by section ("train:", then "  epochs: 50"), and leaves the other keys alone;
 * several files are loaded one after the other. Changes nothing on failure; errors name the file and the line. */
BLEMISH_API BlemishStatus blemish_recipe_load(BlemishRecipe *recipe, const char *path);
/* Sets every key to what the model was trained by, except that what was measured then is auto again
 * (train.bf16, and model.feature_scale unless it is 1). */
BLEMISH_API BlemishStatus blemish_recipe_from_model(BlemishRecipe *recipe, const BlemishModel *model);
/* The index-th key's full name with its present value and one line of help; returns 0 past the end, else 1. */
BLEMISH_API int blemish_recipe_key(const BlemishRecipe *recipe, size_t index, const char **key, char value[64],
                                   const char **help);
BLEMISH_API const char *blemish_recipe_error(const BlemishRecipe *recipe);
BLEMISH_API void blemish_recipe_close(BlemishRecipe *recipe);

typedef struct BlemishTrainSettings {
    const char *backbone;       /* default "builtin"; the paper's is "wide_resnet50_2" */
    const char *weights;        /* a backbone file; default NULL: builtin's own, or the file of blemish_weights_find */
    const char *checkpoint;     /* checkpoint path; default NULL: none are written */
    size_t checkpoint_every;    /* epochs between checkpoints; default 10 */
    int resume;                 /* 1: continue from `checkpoint` if it exists; default 0 */
    const char *log_csv;        /* per-epoch metrics log; default NULL */
    int threads;                /* as in BlemishSessionSettings */
    size_t cache_mb;            /* feature cache kept in memory, beyond it in an unlinked file; default 4096 */
    const char *cache_dir;      /* where that file goes; default NULL: $TMPDIR or /tmp */
    BlemishProgressFn progress; /* default NULL */
    void *progress_user;
    BlemishProfileFn profile; /* default NULL: nothing is counted */
    void *profile_user;
    const BlemishImage *roi; /* as blemish_model_set_roi's mask; default NULL */
} BlemishTrainSettings;

BLEMISH_API void blemish_train_defaults(BlemishTrainSettings *settings);
/* Trains on the data set's training split by the recipe (JIMS 3; docs/recipes.md). When progress asks to stop, a
 * checkpoint is written (if named) and BLEMISH_ERROR_INTERRUPTED returned. *out holds the trained model on success.
 * The same data, recipe, seed and thread count give the identical model. With settings->roi the model has that region
 * of interest and learns inside it alone: no synthetic anomaly and no marked pixel lies outside, and a defective image
 * that is only marked outside is left out. */
BLEMISH_API BlemishStatus blemish_train(BlemishModel **out, const BlemishDataset *dataset, const BlemishRecipe *recipe,
                                        const BlemishTrainSettings *settings);

/* ---- regions of interest --------------------------------------------------------------------------------- */

/* What blemish_roi_learn found. */
typedef struct BlemishRoi {
    size_t images;        /* read */
    double still, moving; /* median change from image to image outside and inside, grey levels of 255; NaN where the
                           * image has no such two parts */
    double share;         /* part of the image inside */
    const char *whole;    /* why the whole image is the region of interest; NULL where a part is */
} BlemishRoi;

/* Makes a mask of height x width pixels (16 to 4096 each) whose pixels are 0 where the good training images are all the
 * same but for noise, as a fixed background is, and 1 elsewhere: where they change from image to image, in what such
 * parts enclose, and in a margin of 1/32 of the shorter side around (docs/regions.md). Where there are no two parts
 * that change differently the mask is 1 everywhere. The mask is the caller's: blemish_image_free. progress may be NULL.
 * ARGUMENT for fewer than 8 good training images; INTERRUPTED; the errors of reading images. */
BLEMISH_API BlemishStatus blemish_roi_learn(const BlemishDataset *dataset, size_t height, size_t width,
                                            BlemishImage *mask, BlemishRoi *found, BlemishProgressFn progress,
                                            void *progress_user, char *error);
/* Writes a picture (PNG): the image, dark where the mask is 0, or where image is NULL the mask itself, in white on
 * black, as blemish_mask_load takes it. */
BLEMISH_API BlemishStatus blemish_roi_write(const BlemishImage *mask, const BlemishImage *image, const char *path,
                                            char *error);

/* ---- label audit ----------------------------------------------------------------------------------------- */

typedef struct BlemishAuditSettings {
    size_t folds;               /* models, 2 to 32; default 4 */
    size_t pictures;            /* of the most disputed images, how many are handed over with their pixels; default 0 */
    const BlemishModel *model;  /* its backbone is used; default NULL: the one that train.backbone and weights name */
    BlemishTrainSettings train; /* checkpoint, resume and log_csv are ignored; progress has stages "fold 2/4 train" and
                                 * so on, profile is called for every fold */
} BlemishAuditSettings;

/* One labelled image, judged by a model that never saw it. The pointers are valid during the call. */
typedef struct BlemishAudited {
    BlemishSample sample;
    size_t fold;     /* from 0; the judge was trained on the images of all other folds */
    float score;     /* the judge's */
    float threshold; /* of this fold: halfway between the median scores of its good and its defective images */
    /* How much the score speaks against the label, alike in every fold: 0 at the threshold, -1 at the median of its own
     * label's images, 1 at that of the other label's. Above 0 the label is disputed. */
    double dispute;
    /* For the first settings.pictures disputed images, else NULL and zeros: the judge, the image and its result, as
     * blemish_session_write_overlay wants them. */
    BlemishSession *session;
    BlemishImage image;
    BlemishResult result;
} BlemishAudited;
typedef int (*BlemishAuditedFn)(void *user, const BlemishAudited *audited);

BLEMISH_API void blemish_audit_defaults(BlemishAuditSettings *settings);
/* Deals all labelled images of both splits out to folds (evenly by label, drawn by train.seed; images of the same
 * content share one), trains a model without each fold in turn, has it judge that fold, and then hands every labelled
 * image to `each`, the most disputed first (docs/audit.md). A non-zero return of `each` or of the progress callback
 * stops with BLEMISH_ERROR_INTERRUPTED. settings may be NULL. */
BLEMISH_API BlemishStatus blemish_audit(const BlemishDataset *dataset, const BlemishRecipe *recipe,
                                        const BlemishAuditSettings *settings, BlemishAuditedFn each, void *each_user,
                                        char *error);

/* ---- evaluation ------------------------------------------------------------------------------------------ */

/* Metrics in [0, 1], exact: every distinct score or map value is a threshold, ties count half. i_ and _det are of the
 * score, seg_ of the map's maximum, p_ and _loc of all pixels; aupro is the area under the per-region overlap
 * (8-connected) up to a false-positive rate of 0.3, divided by 0.3. NaN where the images cannot define one (a single
 * class, no masks). */
typedef struct BlemishMetrics {
    size_t images, defects, masks;
    double i_auroc, ap_det, seg_i_auroc, seg_ap_det, p_auroc, ap_loc, aupro;
    double best_f1, best_f1_threshold;             /* of the score */
    double pixel_best_f1, pixel_best_f1_threshold; /* of the map */
    double seconds_per_image;                      /* decode to result, wall clock */
} BlemishMetrics;

/* One evaluated image, handed to the callback in data set order. The pointers are valid during the call. */
typedef struct BlemishEvaluated {
    BlemishSample sample;
    BlemishImage image;
    const uint8_t *mask; /* 0 or 1 at the map's size, NULL without a mask or where it is too small to show */
    double defect_area;  /* part of the image that the mask marks, at the mask's own size; NaN without a mask */
    const uint8_t *roi;  /* 0 outside the model's region of interest, at the map's size; NULL where all of it counts */
    BlemishResult result;
} BlemishEvaluated;
typedef int (*BlemishEvaluatedFn)(void *user, const BlemishEvaluated *evaluated);

/* Runs the session over one split of the data set. `each` and `progress` may be NULL; a non-zero return of either
 * stops with BLEMISH_ERROR_INTERRUPTED. Images of unknown label count in no metric. Errors are the session's;
 * after one, *metrics is not to be used. Where the split has masks, all maps' values are kept until the end: 4 bytes
 * for each pixel of the network's input and image, about 12 more for each defective one. Larger maps than a million
 * pixels, which tiles can make, count in pixel metrics by the largest value of each small square (docs/metrics.md). */
BLEMISH_API BlemishStatus blemish_evaluate(BlemishSession *session, const BlemishDataset *dataset, BlemishSplit split,
                                           BlemishMetrics *metrics, BlemishEvaluatedFn each, void *each_user,
                                           BlemishProgressFn progress, void *progress_user);

typedef struct BlemishInterval {
    double low, high;
} BlemishInterval;

/* How far the metrics would move with other images of the same kind: percentiles over test sets of the same size, drawn
 * from this one with replacement, good and defective images apart (stratified bootstrap). The same seed gives the same
 * intervals. Pixel metrics are resampled over histograms of 1024 bins (docs/metrics.md). NaN where the metric is. An
 * interval of 1 to 1 says that no image was wrong, not that none will be: see blemish_too_few. */
typedef struct BlemishIntervals {
    double confidence; /* asked for, in (0, 1); default 0.95 */
    size_t resamples;  /* asked for, 100 to 100000; default 1000 */
    uint64_t seed;     /* asked for; default 0 */
    BlemishInterval i_auroc, ap_det, seg_i_auroc, seg_ap_det, best_f1;
    BlemishInterval p_auroc, ap_loc, aupro, pixel_best_f1;
} BlemishIntervals;

BLEMISH_API void blemish_intervals_defaults(BlemishIntervals *intervals);
/* blemish_evaluate that also fills *intervals, which says what is asked for. */
BLEMISH_API BlemishStatus blemish_evaluate_intervals(BlemishSession *session, const BlemishDataset *dataset,
                                                     BlemishSplit split, BlemishMetrics *metrics,
                                                     BlemishIntervals *intervals, BlemishEvaluatedFn each,
                                                     void *each_user, BlemishProgressFn progress, void *progress_user);
/* Fills i_auroc, ap_det and best_f1, with these metrics in metrics, from n scores and their labels of 0 and 1. The
 * other metrics and intervals become NaN. */
BLEMISH_API BlemishStatus blemish_score_intervals(const float *scores, const uint8_t *labels, size_t n,
                                                  BlemishMetrics *metrics, BlemishIntervals *intervals, char *error);
/* The pixel metrics that the session's last blemish_evaluate_intervals found in every resample: *values are 4 rows of
 * as many numbers as are returned, p_auroc, ap_loc, aupro and pixel_best_f1, in the resamples' order; 0 where there are
 * none. Evaluations of the same images with the same seed drew the same ones. They belong to the session until its next
 * evaluation or close. */
BLEMISH_API size_t blemish_session_pixel_resamples(const BlemishSession *session, const double **values);
/* Clopper and Pearson's exact interval of a rate of which `count` of `trials` were seen, each bound at half of
 * 1 - confidence. ARGUMENT when count > trials or confidence is not in (0, 1). */
BLEMISH_API BlemishStatus blemish_rate_interval(size_t count, size_t trials, double confidence, BlemishInterval *out);
/* How many images a rate below `rate` takes to be shown with that confidence when not one of them fails: 59 for 0.05
 * and 0.95. 0 for numbers outside (0, 1). */
BLEMISH_API size_t blemish_images_needed(double rate, double confidence);
/* 1, with one line in text, when so few good and defective images cannot show, even without an error, that fewer than
 * `rate` of each are judged wrongly with that confidence; else 0. A class without images is left out of it. */
BLEMISH_API int blemish_too_few(size_t good, size_t defects, double rate, double confidence,
                                char text[BLEMISH_ERROR_SIZE]);

/* ---- comparing runs over the same images ------------------------------------------------------------------ */

typedef enum BlemishComparedMetric {
    BLEMISH_COMPARED_I_AUROC,
    BLEMISH_COMPARED_AP_DET,
    BLEMISH_COMPARED_BEST_F1,
    BLEMISH_COMPARED_SEG_I_AUROC,
    BLEMISH_COMPARED_SEG_AP_DET,
    BLEMISH_COMPARED_F1, /* of the verdicts, as are the next three */
    BLEMISH_COMPARED_ACCURACY,
    BLEMISH_COMPARED_ESCAPE_RATE,
    BLEMISH_COMPARED_FALSE_ALARM_RATE,
    BLEMISH_COMPARED_P_AUROC,
    BLEMISH_COMPARED_AP_LOC,
    BLEMISH_COMPARED_AUPRO,
    BLEMISH_COMPARED_PIXEL_BEST_F1,
    BLEMISH_COMPARED /* how many they are */
} BlemishComparedMetric;

/* What one run says of the images: arrays of n, image i of every run being the same one. */
typedef struct BlemishRun {
    const float *scores, *map_maxima;
    const uint8_t *defects; /* the verdicts, 0 or 1 */
    double pixels[4];       /* p_auroc, ap_loc, aupro, pixel_best_f1 over these images; NaN where not known */
    /* As blemish_session_pixel_resamples gives them, of evaluations that drew the same images; else NULL and 0. */
    const double *pixels_resampled;
    size_t pixel_resamples;
} BlemishRun;

typedef struct BlemishCompareSettings {
    double confidence; /* in (0, 1); default 0.95 */
    size_t resamples;  /* 100 to 100000; default 1000 */
    uint64_t seed;     /* default 0 */
} BlemishCompareSettings;

/* One metric of one run. NaN where it is not known. */
typedef struct BlemishCompared {
    double value;
    BlemishInterval interval;
    double difference; /* to the first run */
    BlemishInterval difference_interval;
    int differs; /* 1: 0 lies outside of it */
} BlemishCompared;

BLEMISH_API void blemish_compare_defaults(BlemishCompareSettings *settings);
/* "i_auroc", "ap_det", ...: the metric's name; NULL past the last. */
BLEMISH_API const char *blemish_compared_name(BlemishComparedMetric metric);
/* Compares count runs (1 or more) over n images of labels 0 and 1: out has count rows of BLEMISH_COMPARED. Resamples
 * draw the same images for every run, good and defective ones apart, and intervals are percentiles of each metric and
 * of its difference; of rates the intervals are exact, and their differences' are widened to McNemar's exact test
 * (docs/metrics.md). settings may be NULL. ARGUMENT for a null pointer, a setting out of range or a score that is not
 * finite. */
BLEMISH_API BlemishStatus blemish_compare(const BlemishRun *runs, size_t count, const uint8_t *labels, size_t n,
                                          const BlemishCompareSettings *settings, BlemishCompared *out, char *error);

/* What a threshold does: everything at or above it counts as defective. */
typedef struct BlemishCurvePoint {
    float threshold;
    double fpr, recall, precision; /* of images, or of pixels */
    double overlap;                /* of pixels: mean over the marked regions of the part found; else 0 */
} BlemishCurvePoint;

typedef enum BlemishCurveKind { BLEMISH_CURVE_IMAGES, BLEMISH_CURVE_PIXELS, BLEMISH_CURVES } BlemishCurveKind;

/* The points that plots of the session's last evaluation are drawn from, the highest threshold first, and their
 * number: 0 where the images define no curve (a single class, no masks). Each point is exact, at a score or map value
 * that occurs; those left out differ from the one before them by 1/512 or less in every quantity (1/1024 in fpr). They
 * belong to the session until its next evaluation or close. */
BLEMISH_API size_t blemish_session_curve(const BlemishSession *session, BlemishCurveKind kind,
                                         const BlemishCurvePoint **points);
/* Writes metrics into the model's header (blemish_model_save keeps them). */
BLEMISH_API BlemishStatus blemish_model_set_metrics(BlemishModel *model, const BlemishMetrics *metrics);

/* One image's pictures for a report. */
typedef enum BlemishPictureKind {
    BLEMISH_PICTURE_IMAGE,   /* JPEG, the image, dark outside the region of interest */
    BLEMISH_PICTURE_TRUTH,   /* PNG, the mask in white on black */
    BLEMISH_PICTURE_OUTLINE, /* PNG, the mask's outline in white, else transparent: to be laid over the image */
    /* PNG of 8 bits with a palette, whose entry i is the colour of the map value i / 255, the more opaque the larger:
     * to be laid over the image, or over white. Masks and maps have the map's shape, not the image's. */
    BLEMISH_PICTURE_MAP,
    BLEMISH_PICTURES
} BlemishPictureKind;
/* Encodes one of them, no side longer than `side` (16 to 4096 pixels, nothing is enlarged): *size bytes at *bytes, the
 * caller's, freed by blemish_bytes_free. NULL and OK for truth and outline of an image without a mask. */
BLEMISH_API BlemishStatus blemish_picture(const BlemishEvaluated *evaluated, BlemishPictureKind kind, size_t side,
                                          uint8_t **bytes, size_t *size, char *error);
BLEMISH_API void blemish_bytes_free(uint8_t *bytes);

/* ---- calibration ----------------------------------------------------------------------------------------- */

/* src/metric/calibrate.h and docs/model-file.md tell the rules and what they promise. */
typedef struct BlemishCalibrateSettings {
    const char *rule;       /* of the score's threshold: "f1", "budget", "zero-escapes", "costs", "conformal", or "auto"
                             * (default): f1 where there are good and defective images, else conformal */
    const char *pixel_rule; /* of the map's threshold, the same names; default NULL: as rule */
    const char *verdict;    /* what is compared: "score", "map" (its maximum), "combined", or "auto" (default): the best
                             * by cross-validated AUROC, ties to the score */
    const char *probability;        /* "platt", "isotonic", "none", or "auto" (default) */
    double budget;                  /* most false alarms as a part of good images; default 0.05 */
    double confidence;              /* with which the budget is kept, and of the intervals told; default 0.95 */
    double alpha;                   /* of conformal: false alarms expected at most; default 0.05 */
    double escape_cost, alarm_cost; /* of costs; default 1, 1 */
    double defect_rate;         /* of the line, for costs and probabilities, in (0, 1); default NaN: as in the data */
    int split;                  /* a BlemishSplit, default BLEMISH_SPLIT_TEST; or -1: both */
    uint64_t seed;              /* of the draws for cross-validation; default 0 */
    int threads;                /* as in BlemishSessionSettings */
    BlemishProgressFn progress; /* default NULL */
    void *progress_user;
} BlemishCalibrateSettings;

/* What was chosen, and what it does to the images it was chosen on. */
typedef struct BlemishCalibration {
    const char *rule, *pixel_rule, *verdict, *probability; /* the names above, never "auto" */
    float threshold, pixel_threshold;
    size_t good, defects, masks;
    size_t false_alarms, escapes;                  /* good images rejected, defective ones missed */
    BlemishInterval false_alarm_rate, escape_rate; /* exact, at settings.confidence */
    double auroc[3]; /* cross-validated: score, map maximum, combined; NaN where they could not be compared */
    int trained_on;  /* 1: the model's own training images may be among them, and all this is too good */
} BlemishCalibration;

BLEMISH_API void blemish_calibrate_defaults(BlemishCalibrateSettings *settings);
/* Sets the model's thresholds, verdict and probabilities from labelled images it was not trained on; blemish_model_save
 * keeps them. settings and out may be NULL. On failure the model is as before. No session of the model may be running
 * meanwhile. ARGUMENT where the images are too few or of the wrong label for what is asked for. */
BLEMISH_API BlemishStatus blemish_calibrate(BlemishModel *model, const BlemishDataset *dataset,
                                            const BlemishCalibrateSettings *settings, BlemishCalibration *out);

/* A picture of many results: one row of image, ground truth and overlay per added image, several rows a column. */
typedef struct BlemishGallery BlemishGallery;
/* tile_pixels: the side of each of the three, 16 to 2048. columns: rows are laid out in 1 to 64 of them. */
BLEMISH_API BlemishStatus blemish_gallery_new(BlemishGallery **out, size_t tile_pixels, size_t columns);
/* Draws one result. Nothing of *evaluated is used after the call: an evaluation's callback may add what it is given. */
BLEMISH_API BlemishStatus blemish_gallery_add(BlemishGallery *gallery, const BlemishEvaluated *evaluated);
/* Writes the picture (PNG), whole or not at all; more may be added and written again. BLEMISH_ERROR_ARGUMENT when
 * nothing was added or the picture would be larger than 65500 pixels a side or 2^28 in all. */
BLEMISH_API BlemishStatus blemish_gallery_write(BlemishGallery *gallery, const char *png_path);
BLEMISH_API const char *blemish_gallery_error(const BlemishGallery *gallery);
BLEMISH_API void blemish_gallery_close(BlemishGallery *gallery);

/* ---- quantisation ---------------------------------------------------------------------------------------- */

typedef struct BlemishQuantiseSettings {
    size_t images; /* training images to calibrate on, 1 or more; default 128, or all where there are fewer */
    int threads;   /* as in BlemishSessionSettings */
    BlemishProgressFn progress; /* default NULL */
    void *progress_user;
} BlemishQuantiseSettings;

BLEMISH_API void blemish_quantise_defaults(BlemishQuantiseSettings *settings);
/* Rounds the model's weights to 8-bit integers and measures its activations' ranges on the data set's training split
 * (docs/architecture.md, "Precision"); sessions of it compute in integers, a saved file is a quarter of the size. No
 * session of the model may be open. settings may be NULL. UNSUPPORTED for the ICPR variant, ARGUMENT for a quantised
 * model. */
BLEMISH_API BlemishStatus blemish_model_quantise(BlemishModel *model, const BlemishDataset *dataset,
                                                 const BlemishQuantiseSettings *settings);

/* ---- procedural data ------------------------------------------------------------------------------------- */

typedef struct BlemishSynthSettings {
    size_t width, height;            /* pixels; default 256 x 256 */
    size_t train_good, train_defect; /* default 60, 20 */
    size_t test_good, test_defect;   /* default 30, 30 */
    uint64_t seed;                   /* default 1; also chooses the surface */
    uint64_t families;  /* a bit set as in BlemishSurfaceSettings; default 0: one of four plain surfaces instead */
    size_t programs;    /* of those families, each a data set; default 1 */
    size_t defect_size; /* about how long defects are, pixels, up to the image's shorter side; default 0:
                         * in proportion to the image, each type its own way; 0 with families */
    BlemishProgressFn progress;
    void *progress_user;
} BlemishSynthSettings;
BLEMISH_API void blemish_synth_defaults(BlemishSynthSettings *settings);
/* Writes surfaces with and without defects, in the MVTec AD layout with masks plus defects for training, as PNG
 * files under dir (created; refused if it holds anything); more than one program, each in a folder of its own with its
 * number and family as a name. Deterministic by seed. */
BLEMISH_API BlemishStatus blemish_synth(const char *dir, const BlemishSynthSettings *settings, char *error);

/* Surfaces without files (docs/surfaces.md). A family is a kind of surface, a program one material of it: a draw of the
 * family's continuous parameters, colours and light by (seed, program). A sample is one photograph of a program's
 * material, another patch for each number; an object is seen in another pose. Every picture is a function of the
 * settings and its three numbers: it does not depend on other pictures, on threads or on the processor. */
typedef struct BlemishSurfaceSettings {
    uint64_t seed;        /* default 1 */
    size_t width, height; /* 1 to 8192 pixels; default 128 x 128 */
    uint64_t families;    /* bit i enables family i; programs take turns over the enabled ones; default 0: all */
    float nuisance;       /* 0 to 1: how much light, colour, pose and sharpness vary from sample to sample; default 1 */
    int threads;          /* as in BlemishSessionSettings; default 0 */
} BlemishSurfaceSettings;
BLEMISH_API void blemish_surface_defaults(BlemishSurfaceSettings *settings);
/* The index-th family ("brushed") and kind of defect ("crack"); NULL past the end. */
BLEMISH_API const char *blemish_surface_family(size_t index);
BLEMISH_API const char *blemish_surface_defect(size_t index);
/* Paints `count` pictures into rgb (count, height, width, 3): sample samples[i] of program programs[i], defects[i]
 * being the index of a kind of defect or negative for none. masks (count, height, width) becomes 255 exactly where a
 * colour differs by 4 levels or more from the same sample without its defect, else 0; it is never empty with a defect.
 * defects may be NULL (none), masks too; settings may be NULL. ARGUMENT, MEMORY. */
BLEMISH_API BlemishStatus blemish_surface_images(const BlemishSurfaceSettings *settings, size_t count,
                                                 const uint64_t *programs, const uint64_t *samples,
                                                 const int32_t *defects, uint8_t *rgb, uint8_t *masks, char *error);
/* Writes a labelled picture of the enabled families, tiles of width x height (at most 1024 pixels): two samples of one
 * program, two other programs, and defects outlined in red. JPEG where path ends in ".jpg", else PNG. */
BLEMISH_API BlemishStatus blemish_surface_sheet(const BlemishSurfaceSettings *settings, const char *path, char *error);

/* ---- backbone weights ------------------------------------------------------------------------------------ */

/* "builtin" names one network, its weights included, which are compiled into the library (models/builtin.md): training
 * with it needs no file and no network. It is resnet18's architecture up to layer3. The other backbones are names of
 * architectures whose weights are files, a program's own or torchvision's published ones. */
typedef struct BlemishWeights {
    const char *name;          /* file name, "wide_resnet50_2-95faca4d.pth" */
    const char *backbone;      /* "wide_resnet50_2" */
    const char *sha256_prefix; /* lower-case hexadecimal, at least 8 digits; all 64 of builtin */
    const char *url;           /* "" of builtin, which there is nothing to fetch of */
} BlemishWeights;

/* The index-th known file, builtin's included; returns 0 past the end, else 1. */
BLEMISH_API int blemish_weights_known(size_t index, BlemishWeights *weights);
/* The index-th folder that is searched into path[size]: $BLEMISH_WEIGHTS when set; $XDG_CACHE_HOME/blemish, or
 * ~/.cache/blemish where that is not set; the source tree's models/. Returns 0 past the end or when size is too small,
 * else 1. Import and fetch write to the first of them and make it where it is missing.
 *
 * The three functions below put the path of the weights file into path[size]; 4096 bytes are enough for any. When it
 * does not fit they fail with BLEMISH_ERROR_ARGUMENT and write no file. After a failure path is not to be used. */
BLEMISH_API int blemish_weights_folder(size_t index, char *path, size_t size);
/* Finds a backbone's weights file: in each folder in turn its known name, then BACKBONE.pth, then
 * BACKBONE.safetensors; "" for builtin, which needs none. BLEMISH_ERROR_IO when there is none, BLEMISH_ERROR_ARGUMENT
 * for an unknown backbone. */
BLEMISH_API BlemishStatus blemish_weights_find(const char *backbone, char *path, size_t size, char *error);
/* Checks a file (readable, a state_dict with every tensor of `backbone` in its shape; a known name has its known
 * checksum) and copies it, under its known name or BACKBONE.pth or .safetensors. backbone NULL: recognised from its
 * tensors. builtin is refused, here and by fetch. */
BLEMISH_API BlemishStatus blemish_weights_import(const char *file, const char *backbone, char *path, size_t size,
                                                 char *error);
/* Downloads a known file (by file or backbone name) unless it is there with the right checksum. base_url NULL: the
 * published address. progress may be NULL; when it stops the download, the next call resumes. A wrong checksum is
 * refused and deleted. */
BLEMISH_API BlemishStatus blemish_weights_fetch(const char *name, const char *base_url, BlemishProgressFn progress,
                                                void *progress_user, char *path, size_t size, char *error);

#ifdef __cplusplus
}
#endif
#endif
