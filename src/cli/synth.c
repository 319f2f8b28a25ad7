#include "cli.h"

typedef struct Values {
    ImageSize size;
    uint64_t train_good, train_defect, test_good, test_defect, seed, defect_size;
    bool quiet;
} Values;

#define COUNT_OPTION(word, field, value, text)                                                                         \
    {                                                                                                                  \
        .name = word, .argument = "N", .initial = value, .help = text, .kind = OPTION_WHOLE,                           \
        .offset = offsetof(Values, field), .most = 1000000                                                             \
    }

static const Option options[] = {
    {.name = "size",
     .argument = "HxW",
     .initial = "256",
     .help = "image size in pixels, one number for a square",
     .kind = OPTION_SIZE,
     .offset = offsetof(Values, size)},
    COUNT_OPTION("train-good", train_good, "60", "good images for training"),
    COUNT_OPTION("train-defect", train_defect, "20", "defective images for training"),
    COUNT_OPTION("test-good", test_good, "30", "good images for testing"),
    COUNT_OPTION("test-defect", test_defect, "30", "defective images for testing"),
    COUNT_OPTION("defect-size", defect_size, "0",
                 "about how long defects are, in pixels; 0: in proportion to the image"),
    {.name = "seed",
     .argument = "N",
     .initial = "1",
     .help = "chooses the surface and everything on it",
     .kind = OPTION_WHOLE,
     .offset = offsetof(Values, seed),
     .most = UINT64_MAX},
    QUIET_OPTION(Values),
};

static int run(int argc, char **argv) {
    Values values = {0};
    size_t count;
    int code = options_parse(&command_synth, argc, argv, &values, &count);
    if (code >= 0) return code;
    ProgressBar bar;
    progress_start(&bar, values.quiet);
    stop_on_signals();
    BlemishSynthSettings settings;
    blemish_synth_defaults(&settings);
    settings.height = values.size.height;
    settings.width = values.size.width;
    settings.train_good = values.train_good;
    settings.train_defect = values.train_defect;
    settings.test_good = values.test_good;
    settings.test_defect = values.test_defect;
    settings.seed = values.seed;
    settings.defect_size = values.defect_size;
    settings.progress = progress_show;
    settings.progress_user = &bar;
    char error[BLEMISH_ERROR_SIZE] = "";
    BlemishStatus status = blemish_synth(argv[0], &settings, error);
    progress_end(&bar);
    return status ? fail("%s", error) : EXIT_OK;
}

const Command command_synth = {
    .name = "synth",
    .summary = "make images of a surface with and without defects",
    .operands = "DIR",
    .operands_least = 1,
    .operands_most = 1,
    .description = "Writes a data set of procedural images with defects and their masks (PNG, arranged like MVTec AD) "
                   "under DIR, which is created and must be empty: something to try the program on when no photographs "
                   "are at hand. The same settings give the same images.",
    .example = "blemish synth parts --size 256 --seed 7",
    OPTIONS(options),
    .run = run,
};
