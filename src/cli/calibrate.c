/* Thresholds, verdict and probabilities of a model from images it was not trained on. */
#include "cli.h"

#include <math.h>
#include <string.h>

typedef struct Values {
    DataOptions data;
    const char *out, *split, *rule, *pixel_rule, *verdict, *probability;
    double budget, confidence, alpha, defect_rate;
    uint64_t escape_cost, alarm_cost, seed, threads;
    bool json, quiet;
} Values;

#define RULES "f1|budget|zero-escapes|costs|conformal"
#define FRACTION(word, field, value, text)                                                                             \
    {                                                                                                                  \
        .name = word, .argument = "P", .initial = value, .help = text, .kind = OPTION_FRACTION,                        \
        .offset = offsetof(Values, field)                                                                              \
    }
#define CHOICE(word, field, words, value, text)                                                                        \
    {                                                                                                                  \
        .name = word, .argument = words, .initial = value, .help = text, .kind = OPTION_CHOICE,                        \
        .offset = offsetof(Values, field)                                                                              \
    }
#define COST(word, field, text)                                                                                        \
    {                                                                                                                  \
        .name = word, .argument = "N", .initial = "1", .help = text, .kind = OPTION_WHOLE,                             \
        .offset = offsetof(Values, field), .least = 1, .most = 1000000000                                              \
    }

static const Option options[] = {
    DATA_PATH_OPTION(Values),
    DATA_OPTIONS(Values),
    CHOICE("split", split, "test|train|all", "test", "the images to calibrate on; none that the model was trained on"),
    TEXT_OPTION("out", out, "FILE", "write the calibrated model there instead of over MODEL"),
    CHOICE("rule", rule, "auto|" RULES, "auto",
           "how the score's threshold is chosen; auto: f1, or conformal where all images are good"),
    CHOICE("pixel-rule", pixel_rule, "auto|" RULES, NULL, "the same for the map's threshold; otherwise as --rule"),
    CHOICE("verdict", verdict, "auto|score|map|combined", "auto",
           "what is compared with the threshold; auto: the best by cross-validated AUROC"),
    CHOICE("probability", probability, "auto|platt|isotonic|none", "auto", "how scores become probabilities"),
    FRACTION("budget", budget, "0.05", "of budget: most good images rejected, as a part of them"),
    FRACTION("confidence", confidence, "0.95", "of the budget and of the intervals that are printed"),
    FRACTION("alpha", alpha, "0.05", "of conformal: most good images rejected in expectation, as a part of them"),
    COST("escape-cost", escape_cost, "of costs: what a missed defect costs"),
    COST("alarm-cost", alarm_cost, "of costs: what a false alarm costs"),
    FRACTION("defect-rate", defect_rate, NULL,
             "part of defects on the line, for costs and probabilities; otherwise as in the data"),
    {.name = "seed",
     .argument = "N",
     .initial = "0",
     .help = "of the draws for cross-validation",
     .kind = OPTION_WHOLE,
     .offset = offsetof(Values, seed),
     .most = UINT64_MAX},
    {.name = "json", .help = "print a JSON object", .kind = OPTION_FLAG, .offset = offsetof(Values, json)},
    THREADS_OPTION(Values),
    QUIET_OPTION(Values),
};

static void print_rate(const char *what, size_t count, size_t of, const BlemishInterval *rate, double confidence) {
    if (!of) return;
    printf("  %zu of %zu %s; %.1f to %.1f %% of all such images (%g %% confidence)\n", count, of, what, 100 * rate->low,
           100 * rate->high, 100 * confidence);
}

static int report(const Values *values, const BlemishModel *model, const BlemishCalibration *c, const char *file) {
    char text[BLEMISH_ERROR_SIZE];
    if (c->trained_on) say("warning: the model was trained on some of these images: on others it does worse");
    if (blemish_too_few(c->good, c->defects, 0.05, values->confidence, text)) say("warning: %s", text);
    if (values->json) {
        json_t *header = json_loads(blemish_model_info(model).header_json, 0, NULL);
        json_t *object = json_pack("{s:o, s:o, s:o, s:O}", "file", json_text(file), "threshold",
                                   json_number(c->threshold), "pixel_threshold", json_number(c->pixel_threshold),
                                   "calibration", json_object_get(header, "calibration"));
        json_decref(header);
        return json_print(object);
    }
    printf("verdict by %s", c->verdict);
    if (!isnan(c->auroc[0]))
        printf(" (cross-validated AUROC: score %.4f, map %.4f, combined %.4f)", c->auroc[0], c->auroc[1], c->auroc[2]);
    printf("\nthreshold %.4f by %s:\n", (double)c->threshold, c->rule);
    print_rate("defects missed", c->escapes, c->defects, &c->escape_rate, values->confidence);
    print_rate("good images rejected", c->false_alarms, c->good, &c->false_alarm_rate, values->confidence);
    printf("pixel threshold %.4f by %s\nprobability: %s\nmodel: %s\n", (double)c->pixel_threshold, c->pixel_rule,
           c->probability, file);
    return EXIT_OK;
}

static int calibrate(const Values *values, BlemishModel *model, const BlemishDataset *dataset, const char *path) {
    BlemishCalibrateSettings s;
    BlemishCalibration c;
    ProgressBar bar;
    const char *file = values->out ? values->out : path;
    blemish_calibrate_defaults(&s);
    s.rule = values->rule;
    s.pixel_rule = values->pixel_rule;
    s.verdict = values->verdict;
    s.probability = values->probability;
    s.budget = values->budget;
    s.confidence = values->confidence;
    s.alpha = values->alpha;
    s.defect_rate = values->defect_rate;
    s.escape_cost = (double)values->escape_cost;
    s.alarm_cost = (double)values->alarm_cost;
    s.split = !strcmp(values->split, "all") ? -1 : !strcmp(values->split, "test") ? BLEMISH_SPLIT_TEST : 0;
    s.seed = values->seed;
    s.threads = (int)values->threads;
    s.progress = progress_show;
    s.progress_user = &bar;
    progress_start(&bar, values->quiet);
    stop_on_signals();
    BlemishStatus status = blemish_calibrate(model, dataset, &s, &c);
    progress_end(&bar);
    if (status == BLEMISH_ERROR_INTERRUPTED) return fail("interrupted; nothing is written");
    if (status || blemish_model_save(model, file)) return fail("%s", blemish_model_error(model));
    return report(values, model, &c, file);
}

static int run(int argc, char **argv) {
    Values values = {0};
    size_t count;
    int code = options_parse(&command_calibrate, argc, argv, &values, &count);
    if (code >= 0) return code;
    BlemishModel *model = model_open(argv[0]);
    BlemishDataset *dataset = model ? data_open(&values.data) : NULL;
    code = dataset ? calibrate(&values, model, dataset, argv[0]) : EXIT_FAILED;
    blemish_dataset_close(dataset);
    blemish_model_close(model);
    return code;
}

const Command command_calibrate = {
    .name = "calibrate",
    .summary = "set a model's thresholds and probabilities from images it was not trained on",
    .operands = "MODEL",
    .operands_least = 1,
    .operands_most = 1,
    .description =
        "Judges labelled images and keeps in the model file what follows from them: what the verdict is made of, the "
        "thresholds and how they were chosen, and probabilities.\n\n"
        "Rules: f1, the largest F1; budget, the lowest threshold of which an exact binomial bound keeps the false "
        "alarms "
        "within the budget; zero-escapes, the highest that misses no defect; costs, the cheapest; conformal, from good "
        "images alone: the next good image is rejected with probability alpha at most.\n\n"
        "The file is written whole or not at all; Ctrl-C (SIGINT or SIGTERM) ends with exit status 1 and leaves it as "
        "it was.",
    .example = "blemish calibrate tiles.blemish --data validation --rule budget --budget 0.02",
    OPTIONS(options),
    .run = run,
};
