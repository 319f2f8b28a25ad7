#include "cli.h"

typedef struct Values {
    DataOptions data;
    const char *out;
    uint64_t images, threads;
    bool quiet;
} Values;

static const Option options[] = {
    DATA_PATH_OPTION(Values),
    {.name = "out",
     .argument = "FILE",
     .help = "the quantised model",
     .kind = OPTION_TEXT,
     .offset = offsetof(Values, out),
     .required = true},
    DATA_OPTIONS(Values),
    {.name = "images",
     .argument = "N",
     .initial = "128",
     .help = "training images to calibrate on, evenly spread over the data set",
     .kind = OPTION_WHOLE,
     .offset = offsetof(Values, images),
     .least = 1,
     .most = 1000000},
    THREADS_OPTION(Values),
    QUIET_OPTION(Values),
};

static int quantize(const Values *values, BlemishModel *model, const BlemishDataset *dataset) {
    ProgressBar bar;
    BlemishQuantiseSettings settings;
    blemish_quantise_defaults(&settings);
    progress_start(&bar, values->quiet);
    stop_on_signals();
    settings.images = values->images;
    settings.threads = (int)values->threads;
    settings.progress = progress_show;
    settings.progress_user = &bar;
    BlemishStatus status = blemish_model_quantise(model, dataset, &settings);
    progress_end(&bar);
    if (status == BLEMISH_ERROR_INTERRUPTED) return fail("interrupted; nothing is written");
    if (status || blemish_model_save(model, values->out)) return fail("%s", blemish_model_error(model));
    printf("model: %s\n", values->out);
    return EXIT_OK;
}

static int run(int argc, char **argv) {
    Values values = {0};
    size_t count;
    int code = options_parse(&command_quantize, argc, argv, &values, &count);
    if (code >= 0) return code;
    BlemishModel *model = model_open(argv[0]);
    BlemishDataset *dataset = model ? data_open(&values.data) : NULL;
    code = dataset ? quantize(&values, model, dataset) : EXIT_FAILED;
    blemish_dataset_close(dataset);
    blemish_model_close(model);
    return code;
}

const Command command_quantize = {
    .name = "quantize",
    .summary = "make a model of 8-bit integers, smaller and faster",
    .operands = "MODEL",
    .operands_least = 1,
    .operands_most = 1,
    .description =
        "Rounds a trained model's weights to 8-bit integers, each output channel by its own scale, and measures on "
        "training images of a data set what range the network's activations take. The result is a model file of about "
        "a quarter of the size for predict, eval and bench; it cannot be trained further. The thresholds are kept: "
        "eval tells whether they still fit.",
    .example = "blemish quantize tiles.blemish --data magnetic-tile --out tiles-int8.blemish",
    OPTIONS(options),
    .run = run,
};
