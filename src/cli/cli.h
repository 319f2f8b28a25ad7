/* What the subcommands share. */
#ifndef BLEMISH_CLI_H
#define BLEMISH_CLI_H

#include "blemish/blemish.h"
#include "options.h"

#include <jansson.h>

extern const Command command_train, command_eval, command_predict, command_info, command_data, command_synth,
    command_weights, command_bench, command_protocol, command_audit, command_calibrate, command_quantize,
    command_compare, command_roi;

enum { PATH_SIZE = 4096 };

/* ---- progress.c ------------------------------------------------------------------------------------------ */

/* A bar redrawn on one line when stderr is a terminal, otherwise a plain line every few seconds. */
typedef struct ProgressBar {
    bool quiet, terminal;
    char stage[32];
    double drawn; /* seconds of the monotonic clock, of the last drawing */
    bool pending; /* the terminal's line is not ended yet */
} ProgressBar;

void progress_start(ProgressBar *bar, bool quiet);
/* A BlemishProgressFn whose user is the ProgressBar: non-zero after stop_on_signals caught a signal. */
int progress_show(void *bar, const BlemishProgress *progress);
/* Ends the bar's line, so that other lines may be printed. */
void progress_end(ProgressBar *bar);

double seconds_now(void);

/* From now on the first SIGINT or SIGTERM makes progress_show ask for a stop; the second one terminates at once. To be
 * called before any other thread starts, the library's too: they inherit the blocked signals. */
void stop_on_signals(void);
/* A signal was caught since. */
bool stop_requested(void);

/* ---- dataset.c: the options that name a data set ------------------------------------------------------------ */

typedef struct DataOptions {
    const char *path, *layout, *category;
    double test_fraction, mask_ratio;
    uint64_t seed, fold, masks; /* masks UINT64_MAX: all */
    bool tolerant;
} DataOptions;

#define DATA_PATH_OPTION(Values)                                                                                       \
    {                                                                                                                  \
        .name = "data", .argument = "DIR|CSV", .help = "the data set: a folder, or a manifest path,label,mask,split",  \
        .kind = OPTION_TEXT, .offset = offsetof(Values, data.path), .required = true                                   \
    }

#define LAYOUT_OPTION(Values)                                                                                          \
    {                                                                                                                  \
        .name = "layout", .argument = "auto|mvtec|visa|ksdd2|sensum|magnetic-tile|folder|csv", .initial = "auto",      \
        .help = "how the folder is arranged", .kind = OPTION_CHOICE, .offset = offsetof(Values, data.layout)           \
    }

/* How the layouts that have no split of their own are split. */
#define SPLIT_OPTIONS(Values)                                                                                          \
    {.name = "test-fraction",                                                                                          \
     .argument = "F",                                                                                                  \
     .initial = "0.4",                                                                                                 \
     .help = "part of each defect type kept for testing, where the layout has no split of its own",                    \
     .kind = OPTION_FRACTION,                                                                                          \
     .offset = offsetof(Values, data.test_fraction)},                                                                  \
    {                                                                                                                  \
        .name = "split-seed", .argument = "N", .initial = "0",                                                         \
        .help = "chooses that split, and the masks that are kept", .kind = OPTION_WHOLE,                               \
        .offset = offsetof(Values, data.seed), .most = UINT64_MAX                                                      \
    }

#define DATA_OPTIONS(Values)                                                                                           \
    LAYOUT_OPTION(Values), SPLIT_OPTIONS(Values),                                                                      \
        {.name = "category",                                                                                           \
         .argument = "NAME",                                                                                           \
         .help = "one category of a data set that holds several",                                                      \
         .kind = OPTION_TEXT,                                                                                          \
         .offset = offsetof(Values, data.category)},                                                                   \
        {.name = "fold",                                                                                               \
         .argument = "K",                                                                                              \
         .initial = "0",                                                                                               \
         .help = "the third that is tested, 0 to 2, where the layout has folds (sensum)",                              \
         .kind = OPTION_WHOLE,                                                                                         \
         .offset = offsetof(Values, data.fold),                                                                        \
         .most = 2},                                                                                                   \
        {.name = "masks",                                                                                              \
         .argument = "N",                                                                                              \
         .help =                                                                                                       \
             "masks of training images that are kept, the other defects are known by their label only; otherwise all", \
         .kind = OPTION_WHOLE,                                                                                         \
         .offset = offsetof(Values, data.masks),                                                                       \
         .most = INT32_MAX},                                                                                           \
    {                                                                                                                  \
        .name = "mask-ratio", .argument = "R", .initial = "1", .help = "the same as a part of them",                   \
        .kind = OPTION_FRACTION, .offset = offsetof(Values, data.mask_ratio)                                           \
    }

#define BACKBONES "builtin|wide_resnet50_2|resnet50|resnet34|resnet18"

#define BACKBONE_OPTION(Values, text)                                                                                  \
    {                                                                                                                  \
        .name = "backbone", .argument = BACKBONES, .initial = "builtin", .help = text, .kind = OPTION_CHOICE,          \
        .offset = offsetof(Values, backbone)                                                                           \
    }

/* What every training needs besides data, a recipe and a backbone. */
#define TRUNK_OPTIONS(Values)                                                                                          \
    {.name = "weights",                                                                                                \
     .argument = "FILE",                                                                                               \
     .help = "weights of a backbone other than builtin; otherwise the file 'blemish weights' finds",                   \
     .kind = OPTION_TEXT,                                                                                              \
     .offset = offsetof(Values, weights)},                                                                             \
    {                                                                                                                  \
        .name = "cache-mb", .argument = "N", .initial = "4096",                                                        \
        .help = "memory for the images' features in MiB; what does not fit goes to a temporary file",                  \
        .kind = OPTION_WHOLE, .offset = offsetof(Values, cache_mb), .most = 1u << 24                                   \
    }

/* An option of plain text. */
#define TEXT_OPTION(word, field, what, text)                                                                           \
    { .name = word, .argument = what, .help = text, .kind = OPTION_TEXT, .offset = offsetof(Values, field) }

#define THREADS_OPTION(Values)                                                                                         \
    {                                                                                                                  \
        .name = "threads", .argument = "N", .initial = "0", .help = "worker threads; 0: one per processor core",       \
        .kind = OPTION_WHOLE, .offset = offsetof(Values, threads), .most = 1024                                        \
    }

/* What a session computes in; precision_of reads it. */
#define PRECISION_OPTION(Values)                                                                                       \
    {                                                                                                                  \
        .name = "precision", .argument = "auto|fp32|bf16|int8", .initial = "auto",                                     \
        .help = "arithmetic of convolutions and products; auto: the model's own", .kind = OPTION_CHOICE,               \
        .offset = offsetof(Values, precision)                                                                          \
    }

#define TILES_OPTIONS(Values)                                                                                          \
    {.name = "tiles",                                                                                                  \
     .help = "judge images by overlapping tiles at their own resolution, also if the model was not trained so",        \
     .kind = OPTION_FLAG,                                                                                              \
     .offset = offsetof(Values, tiles)},                                                                               \
    {                                                                                                                  \
        .name = "no-tiles", .help = "resize images to the network's input, also if the model was trained by tiles",    \
        .kind = OPTION_FLAG, .offset = offsetof(Values, no_tiles)                                                      \
    }

#define MIN_AREA_OPTION(Values, text)                                                                                  \
    {                                                                                                                  \
        .name = "min-area", .argument = "N", .help = text, .kind = OPTION_WHOLE, .offset = offsetof(Values, min_area), \
        .most = BLEMISH_MIN_AREA_MAX                                                                                   \
    }
#define BORDER_OPTION(Values, text)                                                                                    \
    {                                                                                                                  \
        .name = "border", .argument = "N", .help = text, .kind = OPTION_WHOLE, .offset = offsetof(Values, border),     \
        .most = BLEMISH_BORDER_MAX                                                                                     \
    }

#define QUIET_OPTION(Values)                                                                                           \
    { .name = "quiet", .help = "show no progress", .kind = OPTION_FLAG, .offset = offsetof(Values, quiet) }

#define OPTIONS(table) .options = table, .option_count = sizeof table / sizeof *table

/* Opens the data set; a failure is printed. NULL then. */
BlemishDataset *data_open(const DataOptions *options);
/* One line where masks of the split have another size than their image. False, and why, when it fails. */
bool data_say_resized(BlemishDataset *dataset, BlemishSplit split);
size_t data_count(const BlemishDataset *dataset, BlemishSplit split, BlemishLabel label);

/* ---- roi.c ----------------------------------------------------------------------------------------------- */

/* Where a region of interest comes from: mask is a file, or learned is set. False, and a line, when it fails; what was
 * learned is said. The mask is the caller's. */
bool roi_make(BlemishImage *mask, const char *file, const BlemishDataset *dataset, size_t height, size_t width,
              ProgressBar *bar);

/* ---- recipe.c -------------------------------------------------------------------------------------------- */

#define RECIPE_SET_OPTIONS(Values)                                                                                     \
    {.name = "recipe",                                                                                                 \
     .argument = "FILE|NAME",                                                                                          \
     .help = "a YAML file of recipe keys or the name of a shipped one; may be repeated, later ones win",               \
     .kind = OPTION_LIST,                                                                                              \
     .offset = offsetof(Values, recipes)},                                                                             \
    {                                                                                                                  \
        .name = "set", .argument = "KEY=VALUE",                                                                        \
        .help = "set a key of the recipe, listed below; may be repeated; short names such as epochs do",               \
        .kind = OPTION_LIST, .offset = offsetof(Values, set)                                                           \
    }

/* The defaults, then each file or shipped name, then each KEY=VALUE. Returns an exit code, what is wrong was printed;
 * *recipe is the caller's either way. */
int recipe_open(BlemishRecipe **recipe, const Command *command, const OptionList *files, const OptionList *pairs);
/* The same to a recipe that is open. */
int recipe_change(BlemishRecipe *recipe, const Command *command, const OptionList *files, const OptionList *pairs);
int recipe_load(BlemishRecipe *recipe, const char *file_or_name);
int recipe_set_pair(BlemishRecipe *recipe, const Command *command, const char *pair);
/* A key's value by its full name; "" for an unknown one. */
void recipe_value(const BlemishRecipe *recipe, const char *name, char value[64]);
/* For Command.list: every key with its help and default. */
void recipe_list_keys(void (*item)(FILE *out, const char *term, const char *help), FILE *out);

/* The shipped recipes of a subfolder ("." or "ablations"), sorted, without ".yaml". False where there are none. */
enum { RECIPE_NAMES_MAX = 64 };
typedef struct RecipeNames {
    char *items[RECIPE_NAMES_MAX];
    size_t count;
} RecipeNames;
bool recipe_names(const char *subfolder, RecipeNames *names);
void recipe_names_close(RecipeNames *names);

/* ---- output.c -------------------------------------------------------------------------------------------- */

/* JSON values that any input can become: bytes that are not UTF-8 turn into U+FFFD, numbers that are not finite into
 * null. New references; NULL when memory is short. */
json_t *json_text(const char *text);
json_t *json_number(double value);
json_t *json_metrics(const BlemishMetrics *metrics);
/* [low, high], or null; of all metrics by their names. */
json_t *json_interval(BlemishInterval interval);
json_t *json_intervals(const BlemishIntervals *intervals);

enum { JSON_DIGITS = 9 }; /* read back to the same float */

/* Writes value over several lines; its reference stays the caller's. */
bool json_write_pretty(FILE *out, const json_t *value);
/* Writes value on one line, takes its reference. False (nothing printed) when value is NULL or the stream fails. */
bool json_write_line(FILE *out, json_t *value);
/* The same over several lines, for one object on stdout; returns the exit code, failures are printed. */
int json_print(json_t *value);

/* One field of CSV, in quotes where it needs them; the separators are the caller's. */
void csv_text(FILE *out, const char *text);

/* Writes a file whole or not at all; what is not a regular file (a pipe, a device) as it comes. False, and a line, when
 * it fails. */
bool file_write(const char *path, const char *text, size_t length);

/* intervals may be NULL. */
void metrics_print(const BlemishMetrics *metrics, const BlemishIntervals *intervals, FILE *out);

/* A handle that stays open until the end of a run: opens it, or prints why not and returns NULL. */
BlemishModel *model_open(const char *path);
BlemishSession *session_open(const BlemishModel *model, uint64_t threads, const char *precision, BlemishTiles tiles);
/* By the words of PRECISION_OPTION. */
BlemishPrecision precision_of(const char *word);
/* By the flags of TILES_OPTIONS; --no-tiles wins. */
BlemishTiles tiles_of(bool tiles, bool no_tiles);

/* Evaluates a model on the test images. Returns an exit code; what went wrong was printed, except that a signal stopped
 * it: then *stopped. */
int evaluate_tests(const BlemishModel *model, const BlemishDataset *dataset, uint64_t threads, BlemishMetrics *metrics,
                   ProgressBar *bar, bool *stopped);

#endif
