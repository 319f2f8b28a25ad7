/* Every category, number of masks, recipe, backbone, fold and seed of a published protocol, one run after the other. */
#include "protocol.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

typedef struct Values {
    DataOptions data;
    const char *out, *backbones, *weights, *categories, *ratios, *counts, *folds, *ablations;
    OptionList recipes, set;
    uint64_t seeds, threads, cache_mb;
    bool keep_models, quiet;
} Values;

static const Option options[] = {
    DATA_PATH_OPTION(Values),
    {.name = "out",
     .argument = "DIR",
     .help = "the folder for the tables and the runs, made if it is not there",
     .kind = OPTION_TEXT,
     .offset = offsetof(Values, out),
     .required = true},
    {.name = "seeds",
     .argument = "N",
     .initial = "5",
     .help = "trainings of each case, with seeds 0 to N - 1",
     .kind = OPTION_WHOLE,
     .offset = offsetof(Values, seeds),
     .least = 1,
     .most = 1000},
    TEXT_OPTION("categories", categories, "A,B", "these categories only; otherwise all that the data set has"),
    TEXT_OPTION("folds", folds, "0,1,2", "these folds of the data set; otherwise the first one"),
    TEXT_OPTION("mask-ratios", ratios, "0,0.5,1", "parts of the training masks that are kept; otherwise all masks"),
    TEXT_OPTION("mask-counts", counts, "0,16,53", "numbers of training masks that are kept"),
    TEXT_OPTION("ablations", ablations, "all|A,B", "shipped ablations to train besides the recipe"),
    {.name = "backbones",
     .argument = "A,B",
     .initial = "builtin",
     .help = "the frozen networks under the heads, each in turn: " BACKBONES,
     .kind = OPTION_TEXT,
     .offset = offsetof(Values, backbones)},
    TEXT_OPTION("backbone", backbones, "A", "the same of one"),
    RECIPE_SET_OPTIONS(Values),
    LAYOUT_OPTION(Values),
    SPLIT_OPTIONS(Values),
    TRUNK_OPTIONS(Values),
    THREADS_OPTION(Values),
    {.name = "keep-models",
     .help = "keep the model of every run in its folder",
     .kind = OPTION_FLAG,
     .offset = offsetof(Values, keep_models)},
    QUIET_OPTION(Values),
};

/* ---- lists ----------------------------------------------------------------------------------------------- */

/* Comma-separated words, cut in place. */
typedef struct Words {
    char *text;
    const char *items[PROTOCOL_LIST_MAX];
    size_t count;
} Words;

static int split_words(const char *option, const char *text, Words *words) {
    *words = (Words){0};
    if (!text) return EXIT_OK;
    if (!(words->text = strdup(text))) return fail("memory is short");
    for (char *at = words->text, *word; (word = strsep(&at, ","));) {
        if (words->count == PROTOCOL_LIST_MAX)
            return wrong_usage(&command_protocol, "--%s: found more than %d, expected fewer", option,
                               PROTOCOL_LIST_MAX);
        if (!*word) return wrong_usage(&command_protocol, "--%s: found '%s', expected words and commas", option, text);
        for (size_t i = 0; i < words->count; i++) {
            if (!strcmp(word, words->items[i]))
                return wrong_usage(&command_protocol, "--%s: found %s twice, expected it once", option, word);
        }
        words->items[words->count++] = word;
    }
    return EXIT_OK;
}

/* A whole word as a number from 0 to most. */
static bool parse_number(const char *word, double most, double *out) {
    char *end;
    if ((*word < '0' || *word > '9') && *word != '.') return false;
    *out = strtod(word, &end);
    return !*end && *out <= most && strspn(word, "0123456789.") == strlen(word);
}

static bool parse_count(const char *word, double most, double *out) {
    return parse_number(word, most, out) && !strchr(word, '.');
}

static int list_masks(Protocol *p, const Words *ratios, const Words *counts) {
    double value;
    for (size_t i = 0; i < ratios->count; i++) {
        if (!parse_number(ratios->items[i], 1, &value))
            return wrong_usage(&command_protocol, "--mask-ratios: found '%s', expected numbers from 0 to 1",
                               ratios->items[i]);
        p->masks[p->mask_count] = (MaskChoice){.ratio = value, .count = -1};
        snprintf(p->masks[p->mask_count++].label, sizeof p->masks->label, value == 1 ? "all" : "%g %%", 100 * value);
    }
    for (size_t i = 0; i < counts->count; i++) {
        if (!parse_count(counts->items[i], 1e9, &value))
            return wrong_usage(&command_protocol, "--mask-counts: found '%s', expected whole numbers",
                               counts->items[i]);
        p->masks[p->mask_count] = (MaskChoice){.ratio = 1, .count = (int64_t)value};
        snprintf(p->masks[p->mask_count++].label, sizeof p->masks->label, "%.0f", value);
    }
    if (!p->mask_count) p->masks[p->mask_count++] = (MaskChoice){.label = "all", .ratio = 1, .count = -1};
    return EXIT_OK;
}

static int list_folds(Protocol *p, const Words *folds) {
    double value;
    for (size_t i = 0; i < folds->count; i++) {
        if (!parse_count(folds->items[i], 1000, &value))
            return wrong_usage(&command_protocol, "--folds: found '%s', expected whole numbers", folds->items[i]);
        p->folds[p->fold_count++] = (int)value;
    }
    if (!p->fold_count) p->folds[p->fold_count++] = 0;
    return EXIT_OK;
}

/* ---- categories ------------------------------------------------------------------------------------------ */

static bool opens(const Protocol *p, const char *category) {
    BlemishDatasetSettings settings = p->settings;
    BlemishDataset *dataset;
    settings.category = category;
    settings.fold = p->folds[0];
    bool opened = !blemish_dataset_open(&dataset, p->data, &settings);
    blemish_dataset_close(dataset);
    return opened;
}

static int is_shown(const struct dirent *entry) {
    return entry->d_name[0] != '.';
}

/* That the backbone's weights are there: a comparison should not end without its other half. */
static int check_weights(const Protocol *p, const char *backbone) {
    char path[PATH_SIZE], error[BLEMISH_ERROR_SIZE];
    BlemishStatus status = blemish_weights_find(backbone, path, sizeof path, error);
    if (status == BLEMISH_ERROR_ARGUMENT) return wrong_usage(&command_protocol, "--backbones: %s", error);
    if (!p->weights) return status ? fail("%s", error) : EXIT_OK;
    if (p->backbone_count > 1)
        return wrong_usage(&command_protocol, "--weights: found a file for %zu backbones, expected one backbone",
                           p->backbone_count);
    if (!status && !path[0])
        return wrong_usage(&command_protocol,
                           "--weights: %s has weights of its own, expected a --backbone such as resnet18", backbone);
    return access(p->weights, R_OK) ? fail("%s: %s", p->weights, strerror(errno)) : EXIT_OK;
}

/* Finds out before the first run what would make every one fail. */
static int check_inputs(const Protocol *p) {
    for (size_t i = 0; i < p->category_count; i++) {
        const Run run = {.category = i};
        BlemishDataset *dataset = protocol_data(p, &run);
        if (!dataset) return EXIT_FAILED;
        blemish_dataset_close(dataset);
    }
    for (size_t i = 0; i < p->backbone_count; i++) {
        int code = check_weights(p, p->backbones[i]);
        if (code) return code;
    }
    return EXIT_OK;
}

/* The named categories, or the data set itself, or every folder in it that is a data set. */
static int list_categories(Protocol *p, const Words *named, struct dirent ***entries, int *entry_count) {
    for (size_t i = 0; i < named->count; i++) p->categories[p->category_count++] = named->items[i];
    if (p->category_count) return EXIT_OK;
    *entry_count = scandir(p->data, entries, is_shown, alphasort);
    bool whole = opens(p, NULL);
    for (int i = 0; !whole && i < *entry_count; i++) {
        if (!opens(p, (*entries)[i]->d_name)) continue;
        if (p->category_count == PROTOCOL_LIST_MAX)
            return fail("%s: more than %d categories", p->data, PROTOCOL_LIST_MAX);
        p->categories[p->category_count++] = (*entries)[i]->d_name;
    }
    if (!p->category_count) p->categories[p->category_count++] = NULL;
    return EXIT_OK;
}

/* ---- recipes --------------------------------------------------------------------------------------------- */

/* The recipe and the command line's keys, then what the ablation changes. */
static int add_variation(Protocol *p, const Values *values, const char *recipe, const char *ablation) {
    char file[128];
    Variation *v = &p->variations[p->variation_count];
    if (p->variation_count == PROTOCOL_LIST_MAX) return fail("--ablations: more than %d", PROTOCOL_LIST_MAX - 1);
    *v = (Variation){.name = ablation ? ablation : "base"};
    if (blemish_recipe_new(&v->recipe)) return fail("memory is short");
    p->variation_count++;
    int code = recipe_load(v->recipe, recipe);
    for (size_t i = 0; !code && i < values->recipes.count; i++) code = recipe_load(v->recipe, values->recipes.items[i]);
    for (size_t i = 0; !code && i < values->set.count; i++)
        code = recipe_set_pair(v->recipe, &command_protocol, values->set.items[i]);
    if (!code && ablation) {
        if (snprintf(file, sizeof file, "ablations/%s", ablation) >= (int)sizeof file)
            return fail("--ablations: %s: the name is too long", ablation);
        code = recipe_load(v->recipe, file);
    }
    return code;
}

static int list_variations(Protocol *p, const Values *values, const char *recipe, const Words *named,
                           const RecipeNames *shipped) {
    const bool all = named->count == 1 && !strcmp(named->items[0], "all");
    int code = add_variation(p, values, recipe, NULL);
    for (size_t i = 0; !code && all && i < shipped->count; i++)
        code = add_variation(p, values, recipe, shipped->items[i]);
    for (size_t i = 0; !code && !all && i < named->count; i++) code = add_variation(p, values, recipe, named->items[i]);
    return code;
}

/* ---- the runs -------------------------------------------------------------------------------------------- */

/* Seeds outermost, so that the tables of a protocol that is not finished show every case. */
static int list_runs(Protocol *p) {
    enum { DIMENSIONS = 6 };
    const size_t counts[DIMENSIONS] = {p->seed_count,     p->variation_count, p->mask_count,
                                       p->category_count, p->backbone_count,  p->fold_count};
    size_t total = 1;
    for (size_t i = 0; i < DIMENSIONS; i++) total *= counts[i]; // each is at most 1000
    if (!(p->runs = calloc(total, sizeof *p->runs))) return fail("memory is short");
    for (size_t i = 0; i < total; i++) {
        size_t rest = i, at[DIMENSIONS];
        for (size_t k = DIMENSIONS; k--; rest /= counts[k]) at[k] = rest % counts[k];
        p->runs[i] = (Run){
            .seed = at[0], .variation = at[1], .masks = at[2], .category = at[3], .backbone = at[4], .fold = at[5]};
    }
    p->run_count = total;
    return EXIT_OK;
}

static void say_run(const Protocol *p, const Run *run, size_t index, const char *what) {
    say("run %zu of %zu: %s, masks %s, %s, %s, fold %d, seed %zu%s", index + 1, p->run_count,
        protocol_category(p, run->category), p->masks[run->masks].label, p->variations[run->variation].name,
        p->backbones[run->backbone], p->folds[run->fold], run->seed, what);
}

static int run_all(Protocol *p, bool quiet) {
    ProgressBar bar;
    size_t failed = 0, done = 0;
    bool stopped = false;
    stop_on_signals();
    for (size_t i = 0; i < p->run_count && !stopped; i++) {
        progress_start(&bar, quiet);
        if (!quiet) say_run(p, &p->runs[i], i, "");
        int code = protocol_run(p, &p->runs[i], &bar, &stopped);
        done += !code;
        failed += code && !stopped;
        if (code && !stopped) say_run(p, &p->runs[i], i, ": failed, see the line above");
        if (!code && protocol_tables(p)) return EXIT_FAILED;
        stopped = stopped || stop_requested();
    }
    if (done < p->run_count && stopped)
        return fail("interrupted; %zu of %zu runs are done, the same command continues", done, p->run_count);
    if (failed) return fail("%zu of %zu runs failed; the same command tries them again", failed, p->run_count);
    return EXIT_OK;
}

/* The last part of a path, without the ending: "recipes/mvtec.yaml" is mvtec. */
static void base_name(const char *path, char name[256]) {
    size_t length = strlen(path);
    while (length > 1 && path[length - 1] == '/') length--;
    size_t start = length;
    while (start && path[start - 1] != '/') start--;
    snprintf(name, 256, "%.*s", (int)(length - start), path + start);
    char *dot = strrchr(name, '.');
    if (dot && dot != name) *dot = 0;
}

static int make_folders(const char *out) {
    char runs[PATH_SIZE];
    if (snprintf(runs, sizeof runs, "%s/runs", out) > PATH_SIZE / 2) return fail("%s: the name is too long", out);
    if (mkdir(out, 0777) && errno != EEXIST) return fail("%s: %s", out, strerror(errno));
    return mkdir(runs, 0777) && errno != EEXIST ? fail("%s: %s", runs, strerror(errno)) : EXIT_OK;
}

static int print_table(const Protocol *p) {
    char path[PATH_SIZE], line[4096];
    snprintf(path, sizeof path, "%.4000s/results.md", p->out);
    FILE *file = fopen(path, "re");
    if (!file) return fail("%s: %s", path, strerror(errno));
    while (fgets(line, sizeof line, file)) fputs(line, stdout);
    fclose(file);
    return EXIT_OK;
}

static int protocol(Protocol *p, const Values *values, const char *recipe) {
    Words categories, ratios, counts, folds, ablations, backbones;
    RecipeNames shipped;
    struct dirent **entries = NULL;
    int entry_count = 0;
    recipe_names("ablations", &shipped);
    int code = split_words("categories", values->categories, &categories);
    int more[] = {split_words("mask-ratios", values->ratios, &ratios),
                  split_words("mask-counts", values->counts, &counts), split_words("folds", values->folds, &folds),
                  split_words("ablations", values->ablations, &ablations),
                  split_words("backbones", values->backbones, &backbones)};
    for (size_t i = 0; !code && i < sizeof more / sizeof *more; i++) code = more[i];
    if (!code && ratios.count && counts.count)
        code = wrong_usage(&command_protocol, "--mask-counts: found --mask-ratios too, expected one of them");
    p->backbone_count = backbones.count;
    memcpy(p->backbones, backbones.items, sizeof p->backbones);
    if (!code) code = list_masks(p, &ratios, &counts);
    if (!code) code = list_folds(p, &folds);
    if (!code) code = list_variations(p, values, recipe, &ablations, &shipped);
    if (!code) code = list_categories(p, &categories, &entries, &entry_count);
    if (!code) code = list_runs(p);
    if (!code) code = check_inputs(p);
    if (!code) code = make_folders(p->out);
    if (!code) code = run_all(p, values->quiet);
    if (!code) code = print_table(p);
    free(p->runs);
    for (size_t i = 0; i < p->variation_count; i++) blemish_recipe_close(p->variations[i].recipe);
    for (int i = 0; i < entry_count; i++) free(entries[i]);
    free(entries);
    free(categories.text), free(ratios.text), free(counts.text), free(folds.text), free(ablations.text);
    free(backbones.text);
    recipe_names_close(&shipped);
    return code;
}

static int run(int argc, char **argv) {
    Values values = {0};
    size_t count;
    int code = options_parse(&command_protocol, argc, argv, &values, &count);
    if (code >= 0) return code;
    char set[256], name[256];
    base_name(argv[0], set);
    base_name(values.data.path, name);
    Protocol *p = calloc(1, sizeof *p);
    if (!p) return fail("memory is short");
    *p = (Protocol){.data = values.data.path,
                    .set = set,
                    .name = name,
                    .out = values.out,
                    .weights = values.weights,
                    .threads = values.threads,
                    .cache_mb = values.cache_mb,
                    .keep_models = values.keep_models,
                    .seed_count = values.seeds};
    blemish_dataset_defaults(&p->settings);
    p->settings.layout = values.data.layout;
    p->settings.test_fraction = values.data.test_fraction;
    p->settings.seed = values.data.seed;
    code = protocol(p, &values, argv[0]);
    free(p);
    return code;
}

const Command command_protocol = {
    .name = "protocol",
    .summary = "train and evaluate everything a published table needs",
    .operands = "RECIPE",
    .operands_least = 1,
    .operands_most = 1,
    .description =
        "Trains by a recipe (a YAML file or the name of a shipped one) and evaluates on the test images, for every "
        "category, fold, number of masks, ablation, backbone and seed. Each run has a folder of its own under "
        "DIR/runs; after each, results.md, results.csv and results.json in DIR hold mean and standard deviation over "
        "the seeds, beside the papers' figures, of wide_resnet50_2, where there are some for a recipe of that name."
        "\n\n"
        "Ctrl-C (SIGINT or SIGTERM) ends with exit status 1, and the same command continues: runs that are finished, "
        "of "
        "the same recipe, data set, backbone and program version, are not done again, and a run in progress goes on "
        "from "
        "its checkpoint. A run that fails is reported and the others go on.",
    .example =
        "blemish protocol mvtec --data mvtec --out results/mvtec --seeds 5 --backbones builtin,wide_resnet50_2\n"
        "blemish protocol sensum --data SensumSODF --out results/sensum --folds 0,1,2 --mask-ratios 0,0.5,1\n"
        "blemish protocol magnetic-tile --data tiles --out results/tiles --seeds 3 --ablations all --set epochs=50",
    OPTIONS(options),
    .list_title = "Recipe keys",
    .list = recipe_list_keys,
    .run = run,
};
