/* Several evaluations of the same images in one table and one plot. */
#include "compare.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct Values {
    const char *csv, *plot;
    double confidence;
    uint64_t resamples, seed;
    bool json;
} Values;

static const Option options[] = {
    {.name = "json", .help = "print a JSON object", .kind = OPTION_FLAG, .offset = offsetof(Values, json)},
    TEXT_OPTION("csv", csv, "FILE", "write the table as CSV, a row for each metric and run"),
    TEXT_OPTION("plot", plot, "SVG", "write a picture of all values and differences with their intervals"),
    {.name = "confidence",
     .argument = "P",
     .initial = "0.95",
     .help = "of the intervals",
     .kind = OPTION_FRACTION,
     .offset = offsetof(Values, confidence)},
    {.name = "resamples",
     .argument = "N",
     .initial = "1000",
     .help = "times that images are drawn again; of pixel metrics as often as the reports did",
     .kind = OPTION_WHOLE,
     .offset = offsetof(Values, resamples),
     .least = 100,
     .most = 100000},
    {.name = "seed",
     .argument = "N",
     .initial = "0",
     .help = "of those draws",
     .kind = OPTION_WHOLE,
     .offset = offsetof(Values, seed),
     .most = UINT64_MAX},
};

bool metric_known(const Comparison *c, size_t metric) {
    for (size_t k = 0; k < c->count; k++)
        if (!isnan(compared(c, k, metric)->value)) return true;
    return false;
}

const char *metric_title(size_t metric) {
    static const char *const titles[BLEMISH_COMPARED] = {
        "I-AUROC",     "AP-det",           "best F1", "seg-I-AUROC", "seg-AP-det", "F1 at the threshold", "accuracy",
        "escape rate", "false-alarm rate", "P-AUROC", "AP-loc",      "AUPRO",      "best pixel F1"};
    return titles[metric];
}

static bool less_is_better(size_t metric) {
    return metric == BLEMISH_COMPARED_ESCAPE_RATE || metric == BLEMISH_COMPARED_FALSE_ALARM_RATE;
}

/* ---- names ----------------------------------------------------------------------------------------------- */

static const char *last_part(const char *path) {
    const char *end = path + strlen(path), *from;
    while (end > path && end[-1] == '/') end--;
    for (from = end; from > path && from[-1] != '/';) from--;
    return from;
}

/* In UTF-8 and without control characters. */
static char *printable(const char *text) {
    json_t *value = json_text(text);
    char *copy = value ? strdup(json_string_value(value)) : NULL;
    json_decref(value);
    for (char *c = copy; c && *c; c++)
        if ((unsigned char)*c < 0x20 || *c == 0x7f) *c = '?';
    return copy;
}

/* The last part of each path where that tells all runs apart, else the whole. */
static bool name_runs(EvaluatedRun *runs, size_t count) {
    bool distinct = true;
    for (size_t i = 0; i < count; i++)
        for (size_t k = 0; k < i; k++) distinct &= strcmp(last_part(runs[i].given), last_part(runs[k].given)) != 0;
    for (size_t i = 0; i < count; i++) {
        runs[i].name = printable(distinct ? last_part(runs[i].given) : runs[i].given);
        if (!runs[i].name) return fail("memory is short"), false;
    }
    return true;
}

/* ---- what is printed ------------------------------------------------------------------------------------- */

static void print_row(const Comparison *c, size_t run, size_t metric, int width) {
    const BlemishCompared *m = compared(c, run, metric);
    printf("  %-*s", width, c->runs[run].name);
    if (isnan(m->value)) {
        puts("       -");
        return;
    }
    printf("  %6.4f", m->value);
    if (isnan(m->interval.low))
        printf("  %-16s", "");
    else
        printf("  %6.4f to %6.4f", m->interval.low, m->interval.high);
    if (run && !isnan(m->difference)) {
        printf("  %+7.4f  %+7.4f to %+7.4f", m->difference, m->difference_interval.low, m->difference_interval.high);
        if (m->differs) printf("  %s", (m->difference > 0) == !less_is_better(metric) ? "better" : "worse");
    }
    putchar('\n');
}

static void print_table(const Comparison *c) {
    int width = 0;
    for (size_t k = 0; k < c->count; k++) {
        const int length = (int)strlen(c->runs[k].name);
        width = length > width ? length : width;
    }
    printf("%zu images in common, %zu with a defect; intervals of %g %%", c->images, c->defects,
           100 * c->settings.confidence);
    if (c->count > 1) printf("; differences to %s", c->runs[0].name);
    putchar('\n');
    for (size_t m = 0; m < BLEMISH_COMPARED; m++) {
        if (!metric_known(c, m)) continue;
        puts(metric_title(m));
        for (size_t k = 0; k < c->count; k++) print_row(c, k, m, width);
    }
}

static json_t *metrics_json(const Comparison *c, size_t run) {
    json_t *object = json_object();
    for (size_t m = 0; m < BLEMISH_COMPARED; m++) {
        const BlemishCompared *v = compared(c, run, m);
        json_t *metric = json_pack("{s:o, s:o, s:o, s:o, s:b}", "value", json_number(v->value), "interval",
                                   json_interval(v->interval), "difference", json_number(v->difference),
                                   "difference_interval", json_interval(v->difference_interval), "differs", v->differs);
        if (json_object_set_new(object, blemish_compared_name((BlemishComparedMetric)m), metric)) {
            json_decref(object);
            return NULL;
        }
    }
    return object;
}

static int print_json(const Comparison *c) {
    json_t *runs = json_array();
    bool failed = !runs;
    for (size_t k = 0; k < c->count && !failed; k++)
        failed = json_array_append_new(
            runs, json_pack("{s:s, s:o, s:I, s:o}", "name", c->runs[k].name, "path", json_text(c->runs[k].given),
                            "left_out", (json_int_t)(c->runs[k].count - c->images), "metrics", metrics_json(c, k)));
    if (failed) return json_decref(runs), fail("memory is short");
    return json_print(json_pack("{s:I, s:I, s:f, s:I, s:I, s:o}", "images", (json_int_t)c->images, "defects",
                                (json_int_t)c->defects, "confidence", c->settings.confidence, "resamples",
                                (json_int_t)c->settings.resamples, "seed", (json_int_t)c->settings.seed, "runs", runs));
}

static void csv_number(FILE *out, double value) {
    fputc(',', out);
    if (!isnan(value)) fprintf(out, "%.9g", value);
}

static void write_csv(FILE *out, const Comparison *c) {
    fputs("metric,run,value,low,high,difference,difference_low,difference_high,differs\n", out);
    for (size_t m = 0; m < BLEMISH_COMPARED; m++)
        for (size_t k = 0; k < c->count; k++) {
            const BlemishCompared *v = compared(c, k, m);
            const double numbers[] = {v->value,
                                      v->interval.low,
                                      v->interval.high,
                                      v->difference,
                                      v->difference_interval.low,
                                      v->difference_interval.high};
            fprintf(out, "%s,", blemish_compared_name((BlemishComparedMetric)m));
            csv_text(out, c->runs[k].name);
            for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) csv_number(out, numbers[i]);
            fprintf(out, ",%d\n", v->differs);
        }
}

static bool write_file(const char *path, const Comparison *c, void (*write)(FILE *out, const Comparison *c)) {
    char *text = NULL;
    size_t length;
    FILE *out = open_memstream(&text, &length);
    if (out) write(out, c);
    const bool made = out && !ferror(out);
    if ((out && fclose(out)) || !made) return free(text), fail("%s: memory is short", path), false;
    const bool written = file_write(path, text, length);
    free(text);
    return written;
}

/* ---- the whole ------------------------------------------------------------------------------------------- */

static int compare(const Values *values, EvaluatedRun *runs, size_t count) {
    Paired paired;
    char error[BLEMISH_ERROR_SIZE];
    BlemishCompared *of = calloc(count * BLEMISH_COMPARED, sizeof *of);
    Comparison c = {.runs = runs, .count = count, .of = of};
    blemish_compare_defaults(&c.settings);
    c.settings.confidence = values->confidence;
    c.settings.resamples = (size_t)values->resamples;
    c.settings.seed = values->seed;
    int code = paired_open(&paired, runs, count);
    if (!code && !of) code = fail("memory is short");
    if (!code && blemish_compare(paired.runs, count, paired.labels, paired.n, &c.settings, of, error))
        code = fail("%s", error);
    c.images = paired.n;
    c.defects = paired.defects;
    if (!code && values->csv && !write_file(values->csv, &c, write_csv)) code = EXIT_FAILED;
    if (!code && values->plot && !write_file(values->plot, &c, plot_write)) code = EXIT_FAILED;
    if (!code && values->json) code = print_json(&c);
    if (!code && !values->json) print_table(&c);
    paired_close(&paired);
    free(of);
    return code;
}

static int run(int argc, char **argv) {
    Values values = {0};
    size_t count;
    int code = options_parse(&command_compare, argc, argv, &values, &count);
    if (code >= 0) return code;
    EvaluatedRun *runs = calloc(count, sizeof *runs);
    code = runs ? EXIT_OK : fail("memory is short");
    for (size_t k = 0; k < count && !code; k++) code = run_read(&runs[k], argv[k]);
    if (!code && !name_runs(runs, count)) code = EXIT_FAILED;
    if (!code) code = compare(&values, runs, count);
    for (size_t k = 0; k < count && runs; k++) run_close(&runs[k]);
    free(runs);
    return code;
}

const Command command_compare = {
    .name = "compare",
    .summary = "put evaluations of the same images side by side",
    .operands = "RUN RUN...",
    .operands_least = 2,
    .operands_most = 64,
    .description =
        "A RUN is a folder that 'blemish eval --report' wrote, or a CSV file that it or 'blemish eval --csv' wrote. "
        "Prints every metric of every run with its interval, and the difference to the first run with the interval of "
        "that: images are drawn again, the same for all runs (paired bootstrap). Where the interval excludes 0 the run "
        "is called better or worse.\n\n"
        "Images are matched by path. Those that some run lacks are left out, and with them the pixel metrics, which "
        "stand in reports only and are compared between evaluations of the same images.\n\n"
        "An interval of 95 % excludes 0 by chance once in twenty times: of many metrics and runs, some will.",
    .example = "blemish compare parts-report parts-report-2 --plot compared.svg",
    OPTIONS(options),
    .run = run,
};
