#include "report.h"

#include <stdlib.h>
#include <string.h>

typedef struct Values {
    DataOptions data;
    const char *model, *split, *csv, *gallery, *report, *precision;
    uint64_t gallery_images, report_images, threads, border;
    double cost_escape, cost_false_alarm;
    bool json, quiet, tiles, no_tiles;
} Values;

static const Option options[] = {
    DATA_PATH_OPTION(Values),
    DATA_OPTIONS(Values),
    {.name = "split",
     .argument = "test|train",
     .initial = "test",
     .help = "the images to evaluate",
     .kind = OPTION_CHOICE,
     .offset = offsetof(Values, split)},
    {.name = "json", .help = "print a JSON object", .kind = OPTION_FLAG, .offset = offsetof(Values, json)},
    {.name = "csv",
     .argument = "FILE",
     .help = "write path, type, label, score, verdict and map maximum of every image",
     .kind = OPTION_TEXT,
     .offset = offsetof(Values, csv)},
    {.name = "gallery",
     .argument = "PNG",
     .help = "write a picture of defective images, each with its true and its found defect",
     .kind = OPTION_TEXT,
     .offset = offsetof(Values, gallery)},
    {.name = "gallery-images",
     .argument = "N",
     .initial = "24",
     .help = "images in it, evenly spread over the data set",
     .kind = OPTION_WHOLE,
     .offset = offsetof(Values, gallery_images),
     .least = 1,
     .most = 1000},
    {.name = "report",
     .argument = "DIR",
     .help = "write report.html, one page with curves, pictures and a threshold to move, with the same as report.json "
             "and predictions.csv",
     .kind = OPTION_TEXT,
     .offset = offsetof(Values, report)},
    {.name = "report-images",
     .argument = "N",
     .initial = "100",
     .help = "images in it, the hardest first; each adds about 50 KiB",
     .kind = OPTION_WHOLE,
     .offset = offsetof(Values, report_images),
     .most = 2000},
    {.name = "cost-escape",
     .argument = "X",
     .help = "price of a missed defect, for the report",
     .kind = OPTION_NUMBER,
     .offset = offsetof(Values, cost_escape)},
    {.name = "cost-false-alarm",
     .argument = "X",
     .help = "price of a rejected good image, for the report",
     .kind = OPTION_NUMBER,
     .offset = offsetof(Values, cost_false_alarm)},
    BORDER_OPTION(Values, "pixels at each edge of an image in which the map is ignored; otherwise the model's"),
    THREADS_OPTION(Values),
    PRECISION_OPTION(Values),
    TILES_OPTIONS(Values),
    QUIET_OPTION(Values),
};

/* What is gathered while the images pass. */
typedef struct Run {
    size_t verdicts[2][2]; /* [label][verdict] */
    FILE *csv;             /* in memory: the file appears only when the evaluation is complete */
    char *csv_text;
    size_t csv_length;
    BlemishGallery *gallery;
    BlemishLabel gallery_label; /* defective images, or good ones where there is no defect */
    size_t gallery_seen, gallery_total, gallery_images;
    Report *report; /* NULL where none is asked for */
    bool failed;    /* a callback failed and printed why */
} Run;

static void csv_row(FILE *out, const BlemishEvaluated *e) {
    static const char *const labels[] = {"", "good", "defect"};
    csv_text(out, e->sample.path);
    fputc(',', out);
    csv_text(out, e->sample.type);
    fprintf(out, ",%s,%.9g,%d,%.9g\n", labels[e->sample.label + 1], (double)e->result.score, e->result.defect,
            (double)e->result.map_max);
}

static int each_image(void *user, const BlemishEvaluated *e) {
    Run *run = user;
    if (e->sample.label != BLEMISH_LABEL_UNKNOWN) run->verdicts[e->sample.label][e->result.defect != 0]++;
    if (run->csv) csv_row(run->csv, e);
    if (run->report && !report_add(run->report, e)) run->failed = true;
    if (run->gallery && e->sample.label == run->gallery_label) {
        // Bresenham's rule: every (total / images)-th one, so that all defect types of the sorted data set appear.
        size_t i = run->gallery_seen++, images = run->gallery_images, total = run->gallery_total;
        bool chosen = i * images / total != (i + 1) * images / total || images >= total;
        if (chosen && blemish_gallery_add(run->gallery, e)) {
            fail("%s", blemish_gallery_error(run->gallery));
            run->failed = true;
        }
    }
    return run->failed;
}

static int run_open(Run *run, const Values *values, const BlemishDataset *dataset, BlemishSplit split) {
    if (values->csv) {
        run->csv = open_memstream(&run->csv_text, &run->csv_length);
        if (!run->csv) return fail("memory is short");
        fputs("path,type,label,score,defect,map_max\n", run->csv);
    }
    if (values->gallery) {
        enum { TILE = 160, ONE_COLUMN = 4 };
        size_t defects = data_count(dataset, split, BLEMISH_LABEL_DEFECT);
        run->gallery_label = defects ? BLEMISH_LABEL_DEFECT : BLEMISH_LABEL_GOOD;
        run->gallery_total = defects ? defects : data_count(dataset, split, BLEMISH_LABEL_GOOD);
        run->gallery_images = values->gallery_images;
        size_t shown = run->gallery_total < run->gallery_images ? run->gallery_total : run->gallery_images;
        if (blemish_gallery_new(&run->gallery, TILE, shown > ONE_COLUMN ? 2 : 1)) {
            return fail("%s", run->gallery ? blemish_gallery_error(run->gallery) : "memory is short");
        }
    }
    return EXIT_OK;
}

static int write_csv(Run *run, const char *path) {
    bool short_memory = fclose(run->csv) != 0;
    run->csv = NULL;
    if (short_memory) return fail("memory is short");
    return file_write(path, run->csv_text, run->csv_length) ? EXIT_OK : EXIT_FAILED;
}

static void run_close(Run *run) {
    if (run->csv) fclose(run->csv);
    free(run->csv_text);
    blemish_gallery_close(run->gallery);
}

/* "58 of 60 defects found [0.8847, 0.9959]": exact. */
static void print_rate(size_t count, size_t of, const char *what, double confidence) {
    BlemishInterval rate;
    printf("%zu of %zu %s", count, of, what);
    if (of && !blemish_rate_interval(count, of, confidence, &rate)) printf(" [%.4f, %.4f]", rate.low, rate.high);
}

static int report(const Run *run, const BlemishMetrics *metrics, const BlemishIntervals *intervals,
                  const BlemishModelInfo *info, bool json) {
    const size_t(*v)[2] = run->verdicts;
    if (json) {
        json_t *verdicts = json_pack("{s:I, s:I, s:I, s:I}", "found", (json_int_t)v[1][1], "missed", //
                                     (json_int_t)v[1][0], "false_alarms", (json_int_t)v[0][1],       //
                                     "good_passed", (json_int_t)v[0][0]);
        json_t *object = json_metrics(metrics);
        if (!object || json_object_set_new(object, "threshold", json_number(info->threshold)) ||
            json_object_set_new(object, "verdicts", verdicts) ||
            json_object_set_new(object, "confidence", json_number(intervals->confidence)) ||
            json_object_set_new(object, "intervals", json_intervals(intervals))) {
            json_decref(object);
            object = NULL;
        }
        return json_print(object);
    }
    metrics_print(metrics, intervals, stdout);
    printf("at the model's threshold %.4f: ", (double)info->threshold);
    print_rate(v[1][1], v[1][0] + v[1][1], "defects found", intervals->confidence);
    fputs(", ", stdout);
    print_rate(v[0][1], v[0][0] + v[0][1], "good images rejected", intervals->confidence);
    putchar('\n');
    return EXIT_OK;
}

static int open_report(Report *made, const Values *values, const BlemishModelInfo *info) {
    const ReportSettings settings = {.folder = values->report,
                                     .model_path = values->model,
                                     .split = values->split,
                                     .data = &values->data,
                                     .images = values->report_images,
                                     .cost_escape = values->cost_escape,
                                     .cost_false_alarm = values->cost_false_alarm};
    return report_open(made, &settings, info);
}

static int evaluate(const Values *values, const BlemishModel *model, BlemishDataset *dataset) {
    BlemishSplit split = strcmp(values->split, "test") ? BLEMISH_SPLIT_TRAIN : BLEMISH_SPLIT_TEST;
    BlemishMetrics metrics;
    BlemishIntervals intervals;
    BlemishModelInfo info = blemish_model_info(model);
    ProgressBar bar;
    Report made = {0};
    Run run = {.report = values->report ? &made : NULL};
    if (!values->quiet && !data_say_resized(dataset, split)) return EXIT_FAILED;
    blemish_intervals_defaults(&intervals);
    progress_start(&bar, values->quiet);
    stop_on_signals();
    BlemishSession *session =
        session_open(model, values->threads, values->precision, tiles_of(values->tiles, values->no_tiles));
    int code = session ? run_open(&run, values, dataset, split) : EXIT_FAILED;
    if (!code && run.report) code = open_report(&made, values, &info);
    if (!code) {
        BlemishStatus status = blemish_evaluate_intervals(session, dataset, split, &metrics, &intervals, each_image,
                                                          &run, progress_show, &bar);
        progress_end(&bar);
        if (run.failed) {
            code = EXIT_FAILED;
        } else if (status == BLEMISH_ERROR_INTERRUPTED) {
            code = fail("interrupted; nothing is written");
        } else if (status) {
            code = fail("%s", blemish_session_error(session));
        }
    }
    if (!code && values->csv) code = write_csv(&run, values->csv);
    if (!code && values->gallery && blemish_gallery_write(run.gallery, values->gallery)) {
        code = fail("%s", blemish_gallery_error(run.gallery));
    }
    if (!code && run.report) code = report_write(&made, &metrics, &intervals, session, dataset);
    if (!code) code = report(&run, &metrics, &intervals, &info, values->json);
    report_close(&made);
    run_close(&run);
    blemish_session_close(session);
    return code;
}

static int run(int argc, char **argv) {
    Values values = {0};
    size_t count;
    int code = options_parse(&command_eval, argc, argv, &values, &count);
    if (code >= 0) return code;
    values.model = argv[0];
    BlemishModel *model = model_open(values.model);
    bool fine = model != NULL;
    if (fine && values.border != UINT64_MAX) {
        fine = !blemish_model_set_regions(model, blemish_model_info(model).min_area, values.border);
        if (!fine) fail("%s", blemish_model_error(model));
    }
    BlemishDataset *dataset = fine ? data_open(&values.data) : NULL;
    code = dataset ? evaluate(&values, model, dataset) : EXIT_FAILED;
    blemish_dataset_close(dataset);
    blemish_model_close(model);
    return code;
}

const Command command_eval = {
    .name = "eval",
    .summary = "measure how well a model finds the defects of a data set",
    .operands = "MODEL",
    .operands_least = 1,
    .operands_most = 1,
    .description =
        "Runs the model over one split of a data set and prints exact image and pixel metrics: AUROC, average "
        "precision, AUPRO, the best F1 with its threshold, and the verdicts at the model's own threshold. A "
        "dash (null in JSON) stands where the images cannot define a metric. Behind each stands its 95 % interval: of "
        "metrics "
        "by stratified bootstrap, of rates exact.\n\n"
        "--report makes DIR where there is none and replaces these three files in it.\n\n"
        "The files appear when the whole split is evaluated; Ctrl-C (SIGINT or SIGTERM) ends with exit status 1 and "
        "writes none.",
    .example = "blemish eval tiles.blemish --data magnetic-tile --csv scores.csv --gallery tiles.png\n"
               "blemish eval tiles.blemish --data magnetic-tile --report tiles --cost-escape 500 --cost-false-alarm 4",
    OPTIONS(options),
    .run = run,
};
