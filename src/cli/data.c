#include "cli.h"

#include <string.h>

typedef struct Values {
    DataOptions data;
    bool strict, json, quiet;
} Values;

static const Option options[] = {
    DATA_OPTIONS(Values),
    {.name = "strict",
     .help = "exit with status 1 when there is any problem",
     .kind = OPTION_FLAG,
     .offset = offsetof(Values, strict)},
    {.name = "json", .help = "print a JSON object", .kind = OPTION_FLAG, .offset = offsetof(Values, json)},
    QUIET_OPTION(Values),
};

static const char *const split_names[] = {"train", "test"};

/* The next sample's type that no sample before `index` has; NULL when it was seen. */
static const char *new_type(const BlemishDataset *dataset, size_t index) {
    const char *type = blemish_dataset_sample(dataset, index).type;
    for (size_t i = 0; i < index; i++)
        if (!strcmp(blemish_dataset_sample(dataset, i).type, type)) return NULL;
    return type;
}

static size_t count_type(const BlemishDataset *dataset, const char *type, BlemishSplit split) {
    size_t count = 0;
    for (size_t i = 0; i < blemish_dataset_count(dataset); i++) {
        BlemishSample sample = blemish_dataset_sample(dataset, i);
        count += sample.split == split && !strcmp(sample.type, type);
    }
    return count;
}

static int print_json(const char *path, const BlemishDataset *dataset, const BlemishDataReport *r) {
    json_t *splits = json_object(), *types = json_object(), *sizes = json_array(), *counts = json_object();
    json_t *problems = json_array();
    for (int i = 0; i < 2; i++)
        json_object_set_new(splits, split_names[i],
                            json_pack("{s:I, s:I, s:I, s:I, s:I, s:I}", "images", (json_int_t)r->images[i], "good",
                                      (json_int_t)r->good[i], "defects", (json_int_t)r->defects[i], "unlabelled",
                                      (json_int_t)r->unknown[i], "masks", (json_int_t)r->masks[i], "score_only",
                                      (json_int_t)r->score_only[i]));
    for (size_t i = 0; i < blemish_dataset_count(dataset); i++) {
        const char *type = new_type(dataset, i);
        if (!type) continue;
        json_t *name = json_text(type); // a folder's name need not be UTF-8
        json_object_set_new(types, name ? json_string_value(name) : "",
                            json_pack("{s:I, s:I}", "train", (json_int_t)count_type(dataset, type, BLEMISH_SPLIT_TRAIN),
                                      "test", (json_int_t)count_type(dataset, type, BLEMISH_SPLIT_TEST)));
        json_decref(name);
    }
    for (size_t i = 0; i < r->size_count; i++)
        json_array_append_new(sizes,
                              json_pack("{s:I, s:I, s:I}", "width", (json_int_t)r->sizes[i].width, "height",
                                        (json_int_t)r->sizes[i].height, "images", (json_int_t)r->sizes[i].count));
    for (int kind = 0; kind < BLEMISH_PROBLEM_KINDS; kind++)
        json_object_set_new(counts, blemish_problem_name((BlemishProblemKind)kind),
                            json_integer((json_int_t)r->problem_counts[kind]));
    for (size_t i = 0; i < r->problem_count; i++)
        json_array_append_new(problems, json_pack("{s:s, s:o}", "kind", blemish_problem_name(r->problems[i].kind),
                                                  "text", json_text(r->problems[i].text)));
    return json_print(json_pack("{s:o, s:s, s:o, s:I, s:o, s:o, s:o, s:o}", "path", json_text(path), "layout",
                                blemish_dataset_layout(dataset), "splits", splits, "validation",
                                (json_int_t)r->validation, "types", types, "sizes", sizes, "problem_counts", counts,
                                "problems", problems));
}

static int print_text(const BlemishDataset *dataset, const BlemishDataReport *r) {
    printf("layout: %s\n\n%-8s %8s %8s %8s %10s %8s %11s\n", blemish_dataset_layout(dataset), "", "images", "good",
           "defects", "unlabelled", "masks", "score only");
    for (int i = 0; i < 2; i++)
        printf("%-8s %8zu %8zu %8zu %10zu %8zu %11zu\n", split_names[i], r->images[i], r->good[i], r->defects[i],
               r->unknown[i], r->masks[i], r->score_only[i]);
    if (r->validation) printf("\nvalidation: %zu images, in neither split: they are not used\n", r->validation);
    printf("\n%-24s %8s %8s\n", "type", "train", "test");
    for (size_t i = 0; i < blemish_dataset_count(dataset); i++) {
        const char *type = new_type(dataset, i);
        if (!type) continue;
        printf("%-24s %8zu %8zu\n", type, count_type(dataset, type, BLEMISH_SPLIT_TRAIN),
               count_type(dataset, type, BLEMISH_SPLIT_TEST));
    }
    printf("\n%-24s %8s\n", "width x height", "images");
    enum { SIZES_SHOWN = 10 };
    for (size_t i = 0; i < r->size_count && i < SIZES_SHOWN; i++) {
        char size[64];
        snprintf(size, sizeof size, "%zu x %zu", r->sizes[i].width, r->sizes[i].height);
        printf("%-24s %8zu\n", size, r->sizes[i].count);
    }
    if (r->size_count > SIZES_SHOWN) printf("and %zu other sizes\n", r->size_count - SIZES_SHOWN);
    printf("\nproblems: %zu\n", r->problem_count);
    for (int kind = 0; kind < BLEMISH_PROBLEM_KINDS; kind++)
        if (r->problem_counts[kind])
            printf("  %-22s %8zu\n", blemish_problem_name((BlemishProblemKind)kind), r->problem_counts[kind]);
    for (size_t i = 0; i < r->problem_count; i++) puts(r->problems[i].text);
    return EXIT_OK;
}

static int check(const Values *values, BlemishDataset *dataset) {
    BlemishDataReport report;
    ProgressBar bar;
    progress_start(&bar, values->quiet);
    stop_on_signals();
    BlemishStatus status = blemish_dataset_check(dataset, &report, progress_show, &bar);
    progress_end(&bar);
    if (status) return fail("%s", blemish_dataset_error(dataset));
    int code = values->json ? print_json(values->data.path, dataset, &report) : print_text(dataset, &report);
    if (code || !values->strict || !report.problem_count) return code;
    return fail("%s: found %zu problem%s, expected none", values->data.path, report.problem_count,
                report.problem_count == 1 ? "" : "s");
}

static int run(int argc, char **argv) {
    Values values = {0};
    size_t count;
    int code = options_parse(&command_data, argc, argv, &values, &count);
    if (code >= 0) return code;
    values.data.path = argv[0];
    values.data.tolerant = true;
    BlemishDataset *dataset = data_open(&values.data);
    if (!dataset) return EXIT_FAILED;
    code = check(&values, dataset);
    blemish_dataset_close(dataset);
    return code;
}

const Command command_data = {
    .name = "data",
    .summary = "say what a data set holds and what is wrong with it",
    .operands = "DIR|CSV",
    .operands_least = 1,
    .operands_most = 1,
    .description =
        "Reads every image and mask of a data set, before anyone trains on it, and prints how many there are by split, "
        "label and mask, their sizes, and the problems: files that cannot be read, empty masks of defective images, "
        "masks of good ones, masks of another size than their image, an image that is there twice, and one that is in "
        "both splits.\n\n"
        "Defective images without a mask are no problem: the score learns from them, the map does not.",
    .example = "blemish data magnetic-tile\n"
               "blemish data parts.csv --strict --json",
    OPTIONS(options),
    .run = run,
};
