/* Which labels of a data set its own images speak against. */
#include "cli.h"
#include "inputs.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

typedef struct Values {
    DataOptions data;
    const char *out, *backbone, *weights;
    OptionList recipes, set;
    uint64_t folds, overlays, threads, cache_mb;
    bool quiet;
} Values;

static const Option options[] = {
    DATA_PATH_OPTION(Values),
    DATA_OPTIONS(Values),
    {.name = "out",
     .argument = "DIR",
     .help = "the folder to write, new or empty",
     .kind = OPTION_TEXT,
     .offset = offsetof(Values, out),
     .required = true},
    {.name = "folds",
     .argument = "K",
     .initial = "4",
     .help = "parts of the data set, each judged by a model that was trained on the others",
     .kind = OPTION_WHOLE,
     .offset = offsetof(Values, folds),
     .least = 2,
     .most = 32},
    {.name = "overlays",
     .argument = "N",
     .initial = "20",
     .help = "disputed images that are written with their map in colour, the worst first",
     .kind = OPTION_WHOLE,
     .offset = offsetof(Values, overlays),
     .most = 100000},
    {.name = "backbone",
     .argument = BACKBONES,
     .help = "the frozen network under the heads; otherwise MODEL's, or builtin",
     .kind = OPTION_CHOICE,
     .offset = offsetof(Values, backbone)},
    {.name = "weights",
     .argument = "FILE",
     .help = "weights of a backbone other than builtin; otherwise MODEL's, or the file 'blemish weights' finds",
     .kind = OPTION_TEXT,
     .offset = offsetof(Values, weights)},
    RECIPE_SET_OPTIONS(Values),
    THREADS_OPTION(Values),
    {.name = "cache-mb",
     .argument = "N",
     .initial = "4096",
     .help = "memory for the images' features in MiB; what does not fit goes to a temporary file",
     .kind = OPTION_WHOLE,
     .offset = offsetof(Values, cache_mb),
     .most = 1u << 24},
    QUIET_OPTION(Values),
};

enum { SHOWN = 10 }; /* disputed labels that are printed */

typedef struct Run {
    const Values *values;
    FILE *csv, *json, *table; /* in memory: the files appear only when the audit is complete */
    char *csv_text, *json_text, *table_text;
    size_t csv_length, json_length, table_length;
    size_t rank, disputed, overlays;
    char overlay_folder[PATH_SIZE];
    bool failed; /* a callback failed and printed why */
} Run;

static int make_empty_folder(const char *path) {
    if (strlen(path) > PATH_SIZE / 2) return fail("%s: the name is too long", path);
    if (!mkdir(path, 0777)) return EXIT_OK;
    DIR *folder = errno == EEXIST ? opendir(path) : NULL;
    if (!folder) return fail("%s: %s", path, strerror(errno));
    size_t entries = 0;
    while (readdir(folder)) entries++;
    closedir(folder);
    return entries > 2 ? fail("%s: found files in it, expected a new or an empty folder", path) : EXIT_OK;
}

/* "OVERLAYS/0001_good.png" for a disputed image whose pixels are there, else "". */
static bool write_overlay(Run *run, const BlemishAudited *a, char path[PATH_SIZE]) {
    path[0] = 0;
    if (!a->session) return true;
    if (!run->overlays++ && mkdir(run->overlay_folder, 0777)) {
        fail("%s: %s", run->overlay_folder, strerror(errno));
        return false;
    }
    const char *slash = strrchr(a->sample.path, '/'), *name = slash ? slash + 1 : a->sample.path;
    snprintf(path, PATH_SIZE, "%.3000s/%04zu_%.255s.png", run->overlay_folder, run->rank, name);
    if (!blemish_session_write_overlay(a->session, &a->image, &a->result, path)) return true;
    fail("%s", blemish_session_error(a->session));
    return false;
}

static bool write_rows(Run *run, const BlemishAudited *a, const char *overlay) {
    const BlemishSample *s = &a->sample;
    const char *label = s->label == BLEMISH_LABEL_GOOD ? "good" : "defect";
    const char *split = s->split == BLEMISH_SPLIT_TRAIN ? "train" : "test";
    const char *suspect = a->dispute <= 0 ? "" : s->label == BLEMISH_LABEL_GOOD ? "unlabelled defect" : "mislabelled";
    fprintf(run->csv, "%zu,", run->rank);
    csv_text(run->csv, s->path);
    fputc(',', run->csv);
    csv_text(run->csv, s->type);
    fprintf(run->csv, ",%s,%s,%zu,%.9g,%.9g,%.9g,%s,", label, split, a->fold, (double)a->score, (double)a->threshold,
            a->dispute, suspect);
    csv_text(run->csv, overlay);
    fputc('\n', run->csv);
    if (a->dispute > 0 && run->disputed <= SHOWN)
        fprintf(run->table, "%8.2f  %.4f  %-17s  %s\n", a->dispute, (double)a->score, suspect, s->path);
    return json_write_line(
        run->json, json_pack("{s:I, s:o, s:o, s:s, s:s, s:I, s:o, s:o, s:o, s:o, s:o}", "rank", (json_int_t)run->rank,
                             "path", json_text(s->path), "type", json_text(s->type), "label", label, "split", split, //
                             "fold", (json_int_t)a->fold, "score", json_number(a->score),                            //
                             "threshold", json_number(a->threshold), "dispute", json_number(a->dispute),             //
                             "suspect", *suspect ? json_string(suspect) : json_null(),                               //
                             "overlay", *overlay ? json_text(overlay) : json_null()));
}

static int each_image(void *user, const BlemishAudited *audited) {
    Run *run = user;
    char overlay[PATH_SIZE];
    run->rank++;
    run->disputed += audited->dispute > 0;
    run->failed = !write_overlay(run, audited, overlay);
    if (!run->failed && !write_rows(run, audited, overlay)) {
        fail("memory is short");
        run->failed = true;
    }
    return run->failed;
}

static int run_open(Run *run, const Values *values) {
    *run = (Run){.values = values};
    snprintf(run->overlay_folder, PATH_SIZE, "%.2100s/overlays", values->out);
    run->csv = open_memstream(&run->csv_text, &run->csv_length);
    run->json = open_memstream(&run->json_text, &run->json_length);
    run->table = open_memstream(&run->table_text, &run->table_length);
    if (!run->csv || !run->json || !run->table) return fail("memory is short");
    fputs("rank,path,type,label,split,fold,score,threshold,dispute,suspect,overlay\n", run->csv);
    return EXIT_OK;
}

static bool run_close(Run *run) {
    FILE *files[] = {run->csv, run->json, run->table};
    bool fine = true;
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        if (files[i] && fclose(files[i])) fine = false;
    }
    return fine;
}

static int report(const Run *run) {
    char csv[PATH_SIZE], json[PATH_SIZE];
    snprintf(csv, sizeof csv, "%.2100s/audit.csv", run->values->out);
    snprintf(json, sizeof json, "%.2100s/audit.jsonl", run->values->out);
    if (!file_write(csv, run->csv_text, run->csv_length) || !file_write(json, run->json_text, run->json_length))
        return EXIT_FAILED;
    printf("%zu of %zu labels are disputed\n", run->disputed, run->rank);
    if (run->disputed) printf(" dispute   score  suspect            path\n%s", run->table_text);
    if (run->disputed > SHOWN) printf("and %zu more\n", run->disputed - SHOWN);
    printf("list: %s, %s\n", csv, json);
    if (run->overlays) printf("overlays: %s\n", run->overlay_folder);
    return EXIT_OK;
}

static int audit(const Values *values, const BlemishModel *model, const BlemishDataset *dataset,
                 const BlemishRecipe *recipe) {
    BlemishAuditSettings settings;
    char error[BLEMISH_ERROR_SIZE] = "";
    ProgressBar bar;
    Run run;
    blemish_audit_defaults(&settings);
    settings.folds = values->folds;
    settings.pictures = values->overlays;
    settings.model = values->weights || values->backbone ? NULL : model;
    if (model) settings.train.backbone = blemish_model_info(model).backbone;
    if (values->backbone) settings.train.backbone = values->backbone;
    settings.train.weights = values->weights;
    settings.train.threads = (int)values->threads;
    settings.train.cache_mb = values->cache_mb;
    settings.train.progress = progress_show;
    settings.train.progress_user = &bar;
    progress_start(&bar, values->quiet);
    stop_on_signals();
    int code = run_open(&run, values);
    if (!code) {
        BlemishStatus status = blemish_audit(dataset, recipe, &settings, each_image, &run, error);
        progress_end(&bar);
        if (run.failed) {
            code = EXIT_FAILED;
        } else if (status) {
            code = status == BLEMISH_ERROR_INTERRUPTED ? fail("interrupted; nothing is written") : fail("%s", error);
        }
    }
    if (!run_close(&run) && !code) code = fail("memory is short");
    if (!code) code = report(&run);
    free(run.csv_text), free(run.json_text), free(run.table_text);
    return code;
}

/* The model's recipe, where there is a model, then the command line's. */
static int recipe_from(const Values *values, const BlemishModel *model, BlemishRecipe **recipe) {
    if (blemish_recipe_new(recipe)) return fail("memory is short");
    if (model && blemish_recipe_from_model(*recipe, model)) return fail("%s", blemish_recipe_error(*recipe));
    return recipe_change(*recipe, &command_audit, &values->recipes, &values->set);
}

static int run(int argc, char **argv) {
    Values values = {0};
    size_t count;
    int code = options_parse(&command_audit, argc, argv, &values, &count);
    if (code >= 0) return code;
    BlemishModel *model = count ? model_open(argv[0]) : NULL;
    BlemishRecipe *recipe = NULL;
    BlemishDataset *dataset = NULL;
    code = count && !model ? EXIT_FAILED : recipe_from(&values, model, &recipe);
    if (!code) dataset = data_open(&values.data);
    if (!code && !dataset) code = EXIT_FAILED;
    if (!code) code = make_empty_folder(values.out);
    if (!code) code = audit(&values, model, dataset, recipe);
    blemish_dataset_close(dataset);
    blemish_recipe_close(recipe);
    blemish_model_close(model);
    return code;
}

const Command command_audit = {
    .name = "audit",
    .summary = "list the images whose label is likely wrong",
    .operands = "[MODEL]",
    .operands_most = 1,
    .description =
        "Deals all labelled images, of training and test split, out to K folds, trains a model without each fold in "
        "turn and has it judge that fold, so that no image is judged by a model that saw it. DIR/audit.csv and "
        "DIR/audit.jsonl then list every image, the most disputed label first: likely unlabelled defects among the "
        "good images, and likely mislabelled ones among the defective. DIR/overlays shows the worst.\n\n"
        "The dispute is the same in every fold: 0 at the fold's threshold, which lies halfway between the median "
        "scores of its good and its defective images, -1 at the median of the images with the same label, 1 at that "
        "of the others. Above 0 a label is disputed.\n\n"
        "MODEL lends its backbone, size and recipe; its heads are not used, since they have seen these images. Recipe "
        "options come on top. It takes as long as K - 1 trainings. Ctrl-C (SIGINT or SIGTERM) ends it with exit status "
        "1 and nothing written; a second one ends it at once.",
    .example = "blemish audit tiles.blemish --data magnetic-tile --out disputed\n"
               "blemish audit --data parts.csv --out disputed --set epochs=50 --folds 8",
    OPTIONS(options),
    .list_title = "Recipe keys",
    .list = recipe_list_keys,
    .run = run,
};
