#include "profile.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

typedef struct Values {
    DataOptions data;
    const char *out, *backbone, *weights, *epochs, *batch, *seed, *tile_overlap, *checkpoint, *log, *roi;
    OptionList recipes, set;
    ImageSize size;
    uint64_t threads, checkpoint_every, cache_mb;
    bool tiles, resume, no_eval, profile, quiet;
} Values;

static const Option options[] = {
    DATA_PATH_OPTION(Values),
    DATA_OPTIONS(Values),
    {.name = "out",
     .argument = "MODEL",
     .help = "the model file to write",
     .kind = OPTION_TEXT,
     .offset = offsetof(Values, out),
     .required = true},
    BACKBONE_OPTION(Values, "the frozen network under the heads; the paper's is wide_resnet50_2"),
    TRUNK_OPTIONS(Values),
    TEXT_OPTION("epochs", epochs, "N", "short for --set epochs=N"),
    TEXT_OPTION("batch", batch, "N", "short for --set batch=N"),
    TEXT_OPTION("seed", seed, "N", "short for --set seed=N"),
    {.name = "size",
     .argument = "HxW",
     .help = "short for --set height=H --set width=W; one number for a square",
     .kind = OPTION_SIZE,
     .offset = offsetof(Values, size)},
    {.name = "tiles",
     .help = "short for --set tiles=1: cut images into overlapping tiles of the network's input size, at their own "
             "resolution; the model then judges images so (docs/tiles.md)",
     .kind = OPTION_FLAG,
     .offset = offsetof(Values, tiles)},
    TEXT_OPTION("tile-overlap", tile_overlap, "P", "short for --set tile_overlap=P"),
    TEXT_OPTION(
        "roi", roi, "PNG|learn",
        "train inside a region of interest alone, what is not black in the picture, or what changes from one good "
        "image to the next (blemish roi --help)"),
    RECIPE_SET_OPTIONS(Values),
    THREADS_OPTION(Values),
    TEXT_OPTION(
        "checkpoint", checkpoint, "FILE",
        "where the state of the training is kept, removed when the model is written; otherwise MODEL.checkpoint"),
    {.name = "checkpoint-every",
     .argument = "N",
     .initial = "10",
     .help = "epochs between checkpoints",
     .kind = OPTION_WHOLE,
     .offset = offsetof(Values, checkpoint_every),
     .least = 1,
     .most = 1000000},
    {.name = "resume", .help = "continue from the checkpoint", .kind = OPTION_FLAG, .offset = offsetof(Values, resume)},
    TEXT_OPTION("log", log, "FILE", "losses of every epoch as CSV; otherwise MODEL.csv"),
    {.name = "no-eval",
     .help = "skip the evaluation on the test images",
     .kind = OPTION_FLAG,
     .offset = offsetof(Values, no_eval)},
    PROFILE_OPTION(Values, "print where the time of the training went, by stage, against this machine's peak"),
    QUIET_OPTION(Values),
};

/* "regime: ...": what the labels, or the recipe, make of the training images. */
static void say_regime(const BlemishRecipe *recipe, const BlemishDataset *dataset) {
    char regime[64], tiles[64];
    size_t masks = 0, defects = data_count(dataset, BLEMISH_SPLIT_TRAIN, BLEMISH_LABEL_DEFECT);
    size_t images = data_count(dataset, BLEMISH_SPLIT_TRAIN, BLEMISH_LABEL_GOOD) + defects;
    for (size_t i = 0; i < blemish_dataset_count(dataset); i++) {
        BlemishSample sample = blemish_dataset_sample(dataset, i);
        masks += sample.split == BLEMISH_SPLIT_TRAIN && sample.label == BLEMISH_LABEL_DEFECT && sample.mask_path;
    }
    recipe_value(recipe, "train.regime", regime);
    bool chosen = !strcmp(regime, "auto");
    if (chosen) strcpy(regime, defects ? "supervised" : "unsupervised");
    say("regime: %s, by the %s: %zu of %zu labelled training images are defective, %zu of them with a mask", regime,
        chosen ? "labels" : "recipe", defects, images, masks);
    recipe_value(recipe, "data.tiles", tiles);
    if (!strcmp(tiles, "1") && !strcmp(regime, "supervised") && masks < defects)
        say("tiles: the %zu defective training images without a mask are left out: which of their tiles are defective "
            "is not known",
            defects - masks);
}

static bool recipe_word(BlemishRecipe *recipe, const char *key, const char *value) {
    if (!value || !blemish_recipe_set(recipe, key, value)) return true;
    wrong_usage(&command_train, "--%s: %s", key, blemish_recipe_error(recipe));
    return false;
}

/* The recipe the command line asks for, the caller's; returns an exit code, what is refused was printed. */
static int recipe_from(const Values *values, BlemishRecipe **recipe) {
    char height[32], width[32];
    int code = recipe_open(recipe, &command_train, &values->recipes, &values->set);
    if (code) return code;
    bool fine = recipe_word(*recipe, "epochs", values->epochs) && recipe_word(*recipe, "batch", values->batch) &&
                recipe_word(*recipe, "seed", values->seed) && recipe_word(*recipe, "tiles", values->tiles ? "1" : NULL);
    if (fine && values->tile_overlap && blemish_recipe_set(*recipe, "tile_overlap", values->tile_overlap)) {
        wrong_usage(&command_train, "--tile-overlap: %s", blemish_recipe_error(*recipe));
        fine = false;
    }
    if (fine && values->size.height) {
        snprintf(height, sizeof height, "%zu", values->size.height);
        snprintf(width, sizeof width, "%zu", values->size.width);
        fine = recipe_word(*recipe, "height", height) && recipe_word(*recipe, "width", width);
    }
    return fine ? EXIT_OK : EXIT_USAGE;
}

/* Evaluates on the test images, prints the metrics and puts them into the model. */
static int evaluate(BlemishModel *model, const BlemishDataset *dataset, const Values *values, ProgressBar *bar) {
    BlemishMetrics metrics;
    bool stopped = false;
    int code = evaluate_tests(model, dataset, values->threads, &metrics, bar, &stopped);
    if (stopped) fail("interrupted; %s is written, without the metrics of the test images", values->out);
    if (code) return code;
    metrics_print(&metrics, NULL, stdout);
    metrics.seconds_per_image = NAN; // the same training gives the same file
    if (blemish_model_set_metrics(model, &metrics)) return fail("%s", blemish_model_error(model));
    if (blemish_model_save(model, values->out)) return fail("%s", blemish_model_error(model));
    return EXIT_OK;
}

typedef struct Profiling {
    const Values *values;
    ProgressBar *bar;
} Profiling;

/* A BlemishProfileFn: prints the stages. */
static void print_profile(void *user, const BlemishStage *stages, size_t count) {
    const Profiling *profiling = user;
    BlemishPeak peak;
    char error[BLEMISH_ERROR_SIZE];
    progress_end(profiling->bar);
    if (count == 0) return; // it failed before it began
    if (blemish_peak_measure((int)profiling->values->threads, &peak, error))
        fail("%s", error);
    else
        profile_print(stages, count, &peak, 1, "whole training");
}

static bool make_roi(BlemishImage *roi, const Values *values, const BlemishDataset *dataset,
                     const BlemishRecipe *recipe, ProgressBar *bar) {
    char height[64], width[64];
    recipe_value(recipe, "model.height", height);
    recipe_value(recipe, "model.width", width);
    return roi_make(roi, strcmp(values->roi, "learn") ? values->roi : NULL, dataset, strtoul(height, NULL, 10),
                    strtoul(width, NULL, 10), bar);
}

static int train(BlemishModel **model, const BlemishDataset *dataset, const BlemishRecipe *recipe, const Values *values,
                 ProgressBar *bar) {
    BlemishTrainSettings settings;
    Profiling profiling = {values, bar};
    blemish_train_defaults(&settings);
    settings.backbone = values->backbone;
    settings.weights = values->weights;
    settings.checkpoint = values->checkpoint;
    settings.checkpoint_every = values->checkpoint_every;
    settings.resume = values->resume;
    settings.log_csv = values->log;
    settings.threads = (int)values->threads;
    settings.cache_mb = values->cache_mb;
    settings.progress = progress_show;
    settings.progress_user = bar;
    settings.profile = values->profile ? print_profile : NULL;
    settings.profile_user = &profiling;
    BlemishImage roi = {0};
    if (values->roi && !make_roi(&roi, values, dataset, recipe, bar)) return EXIT_FAILED;
    settings.roi = roi.data ? &roi : NULL;
    BlemishStatus status = blemish_train(model, dataset, recipe, &settings);
    blemish_image_free(&roi);
    progress_end(bar);
    if (status == BLEMISH_ERROR_INTERRUPTED) {
        if (access(values->checkpoint, F_OK)) return fail("interrupted; there is no checkpoint to continue from yet");
        return fail("interrupted; %s is written, the same command with --resume continues", values->checkpoint);
    }
    if (status) return fail("%s", *model ? blemish_model_error(*model) : "memory is short");
    // Written before the evaluation, so that nothing that goes wrong there costs the training.
    if (blemish_model_save(*model, values->out)) return fail("%s", blemish_model_error(*model));
    unlink(values->checkpoint);
    return EXIT_OK;
}

static int train_and_evaluate(const Values *values, const BlemishDataset *dataset, const BlemishRecipe *recipe) {
    BlemishModel *model = NULL;
    ProgressBar bar;
    progress_start(&bar, values->quiet);
    stop_on_signals();
    int code = train(&model, dataset, recipe, values, &bar);
    bool tests = data_count(dataset, BLEMISH_SPLIT_TEST, BLEMISH_LABEL_GOOD) +
                     data_count(dataset, BLEMISH_SPLIT_TEST, BLEMISH_LABEL_DEFECT) >
                 0;
    if (!code && tests && !values->no_eval) code = evaluate(model, dataset, values, &bar);
    if (!code) printf("model: %s\n", values->out);
    blemish_model_close(model);
    return code;
}

/* Finds out before the training, not after it, that a file cannot be written. */
static int check_target(const char *path) {
    char folder[PATH_SIZE];
    struct stat status;
    if (!stat(path, &status) && !S_ISREG(status.st_mode))
        return fail("%s: found something that is not a regular file, will not replace it", path);
    const char *slash = strrchr(path, '/');
    size_t length = slash ? (size_t)(slash - path) + 1 : 0;
    if (length >= sizeof folder) return fail("%s: the name is too long", path);
    memcpy(folder, path, length);
    folder[length] = 0;
    return access(length ? folder : ".", W_OK | X_OK) ? fail("%s: %s", path, strerror(errno)) : EXIT_OK;
}

static int run(int argc, char **argv) {
    Values values = {0};
    size_t count;
    char checkpoint[PATH_SIZE], log[PATH_SIZE];
    int code = options_parse(&command_train, argc, argv, &values, &count);
    if (code >= 0) return code;
    BlemishRecipe *recipe = NULL;
    code = recipe_from(&values, &recipe);
    if (!code && strlen(values.out) > PATH_SIZE - 16) code = fail("%s: the name is too long", values.out);
    snprintf(checkpoint, sizeof checkpoint, "%s.checkpoint", values.out);
    snprintf(log, sizeof log, "%s.csv", values.out);
    if (!values.checkpoint) values.checkpoint = checkpoint;
    if (!values.log) values.log = log;
    if (!code) code = check_target(values.out);
    if (!code) code = check_target(values.checkpoint);
    BlemishDataset *dataset = code ? NULL : data_open(&values.data);
    if (dataset && values.resume != !access(values.checkpoint, F_OK)) {
        say(values.resume ? "%s: there is no checkpoint, training starts from the beginning"
                          : "%s: left alone until the first checkpoint of this training; --resume would continue it",
            values.checkpoint);
    }
    if (dataset && !values.quiet) {
        say_regime(recipe, dataset);
        if (!data_say_resized(dataset, BLEMISH_SPLIT_TRAIN)) code = EXIT_FAILED;
        if (!code && !values.no_eval && !data_say_resized(dataset, BLEMISH_SPLIT_TEST)) code = EXIT_FAILED;
    }
    if (!code) code = dataset ? train_and_evaluate(&values, dataset, recipe) : EXIT_FAILED;
    blemish_dataset_close(dataset);
    blemish_recipe_close(recipe);
    return code;
}

const Command command_train = {
    .name = "train",
    .summary = "train a model on images of good and defective parts",
    .operands = "",
    .description =
        "Trains on the training images of the data set. With good images only it learns from synthetic defects; as "
        "soon as one training image is labelled defective, that supervision is used, with masks where there are any. "
        "Then the test images, where the data set has any, are evaluated: the metrics are printed and kept in the "
        "model.\n\n"
        "The recipe is its default values, then every --recipe in turn, then every --set. Shipped recipes: "
        "unsupervised, supervised, mvtec, visa, ksdd2, sensum, magnetic-tile, and ablations/NAME to put on top.\n\n"
        "Ctrl-C (SIGINT or SIGTERM) writes a checkpoint and ends with exit status 1; the same command with --resume "
        "continues, to the same model as if it had never stopped. A second one ends at once.",
    .example = "blemish train --data magnetic-tile --out tiles.blemish --epochs 50\n"
               "blemish train --data parts.csv --out parts.blemish --recipe supervised --set anomaly.noise_std=0.02",
    OPTIONS(options),
    .list_title = "Recipe keys",
    .list = recipe_list_keys,
    .run = run,
};
