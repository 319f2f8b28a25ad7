/* What a model leaves out of an image: everything outside a region of interest, a border, small regions. */
#include "cli.h"

#include <math.h>
#include <string.h>

typedef struct Values {
    DataOptions data;
    const char *mask, *out, *preview, *save_mask;
    uint64_t min_area, border;
    bool learn, none, quiet;
} Values;

static const Option options[] = {
    TEXT_OPTION("mask", mask, "PNG", "the region: what is not black counts; any size, it stands for the whole image"),
    {.name = "learn",
     .help = "learn the region from the good training images of --data: what is the same in all of them is left out",
     .kind = OPTION_FLAG,
     .offset = offsetof(Values, learn)},
    {.name = "none", .help = "the whole image counts again", .kind = OPTION_FLAG, .offset = offsetof(Values, none)},
    MIN_AREA_OPTION(Values, "least pixels of a region that is listed; 0: any"),
    BORDER_OPTION(Values, "pixels at each edge of an image in which the map is ignored; 0: none"),
    TEXT_OPTION("data", data.path, "DIR|CSV", "the data set to learn from, and whose first good image --preview shows"),
    DATA_OPTIONS(Values),
    TEXT_OPTION("out", out, "FILE", "write the model there instead of over MODEL"),
    TEXT_OPTION("preview", preview, "PNG", "write a picture: an image of --data, dark outside the region"),
    TEXT_OPTION("save-mask", save_mask, "PNG",
                "write the region in white on black, to be painted over and given to --mask"),
    QUIET_OPTION(Values),
};

static bool learn(BlemishImage *mask, const BlemishDataset *dataset, size_t height, size_t width, ProgressBar *bar) {
    BlemishRoi found;
    char error[BLEMISH_ERROR_SIZE];
    BlemishStatus status = blemish_roi_learn(dataset, height, width, mask, &found, progress_show, bar, error);
    progress_end(bar);
    if (status) {
        fail("%s", status == BLEMISH_ERROR_INTERRUPTED ? "interrupted; nothing is written" : error);
        return false;
    }
    if (found.whole)
        say("region of interest: all of the image, by %zu good images: %s", found.images, found.whole);
    else
        say("region of interest: %.1f %% of the image, by %zu good images; it changes by %.1f grey levels from one to "
            "the next, the rest by %.1f",
            100 * found.share, found.images, found.moving, found.still);
    return true;
}

bool roi_make(BlemishImage *mask, const char *file, const BlemishDataset *dataset, size_t height, size_t width,
              ProgressBar *bar) {
    char error[BLEMISH_ERROR_SIZE];
    *mask = (BlemishImage){0};
    if (!file) return learn(mask, dataset, height, width, bar);
    if (!blemish_mask_load(mask, file, error)) return true;
    fail("%s", error);
    return false;
}

/* The first good training image, where there is a data set; image->data is NULL without. */
static bool load_example(BlemishImage *image, const BlemishDataset *dataset) {
    char error[BLEMISH_ERROR_SIZE];
    *image = (BlemishImage){0};
    for (size_t i = 0; dataset && i < blemish_dataset_count(dataset); i++) {
        BlemishSample sample = blemish_dataset_sample(dataset, i);
        if (sample.split != BLEMISH_SPLIT_TRAIN || sample.label != BLEMISH_LABEL_GOOD) continue;
        if (!blemish_image_load(image, sample.path, error)) return true;
        fail("%s", error);
        return false;
    }
    return true;
}

/* Pictures of the model's region, all white where it has none. */
static bool write_pictures(const Values *values, const BlemishModel *model, const BlemishDataset *dataset) {
    static const uint8_t all = 1;
    const BlemishImage whole = {&all, 1, 1, 1, 1};
    char error[BLEMISH_ERROR_SIZE];
    BlemishImage roi = blemish_model_info(model).roi, image = {0};
    if (!roi.data) roi = whole;
    if (values->preview && !load_example(&image, dataset)) return false;
    bool fine = !values->preview || !blemish_roi_write(&roi, image.data ? &image : NULL, values->preview, error);
    fine = fine && (!values->save_mask || !blemish_roi_write(&roi, NULL, values->save_mask, error));
    blemish_image_free(&image);
    if (!fine) fail("%s", error);
    return fine;
}

static bool sets_roi(const Values *values) {
    return values->mask || values->learn || values->none;
}

static bool sets_rules(const Values *values) {
    return values->min_area != UINT64_MAX || values->border != UINT64_MAX;
}

static int change(const Values *values, BlemishModel *model, const BlemishDataset *dataset, const char *file) {
    ProgressBar bar;
    BlemishImage mask = {0};
    BlemishModelInfo info = blemish_model_info(model);
    const size_t border = info.border;
    progress_start(&bar, values->quiet);
    stop_on_signals();
    bool fine =
        !(values->mask || values->learn) || roi_make(&mask, values->mask, dataset, info.height, info.width, &bar);
    if (!fine) return EXIT_FAILED;
    BlemishStatus status = sets_roi(values) ? blemish_model_set_roi(model, values->none ? NULL : &mask) : BLEMISH_OK;
    blemish_image_free(&mask);
    if (status == BLEMISH_OK)
        status = blemish_model_set_regions(model, values->min_area == UINT64_MAX ? info.min_area : values->min_area,
                                           values->border == UINT64_MAX ? info.border : values->border);
    if (status) return fail("%s", blemish_model_error(model));
    if (!write_pictures(values, model, dataset)) return EXIT_FAILED;
    if ((sets_roi(values) || sets_rules(values) || values->out) && blemish_model_save(model, file))
        return fail("%s", blemish_model_error(model));
    info = blemish_model_info(model);
    printf("region of interest: %.1f %% of the image\nleast area: %zu\nborder: %zu\nmodel: %s\n", 100 * info.roi_share,
           info.min_area, info.border, file);
    if (sets_roi(values) || info.border != border)
        say("the thresholds stay as they are: 'blemish calibrate' sets them for what counts now");
    return EXIT_OK;
}

static int run(int argc, char **argv) {
    Values values = {0};
    size_t count;
    int code = options_parse(&command_roi, argc, argv, &values, &count);
    if (code >= 0) return code;
    const int ways = (values.mask != NULL) + values.learn + values.none;
    if (ways > 1) return wrong_usage(&command_roi, "--mask, --learn and --none: found %d of them, expected one", ways);
    if (!ways && !sets_rules(&values) && !values.preview && !values.save_mask)
        return wrong_usage(&command_roi,
                           "found nothing to do, expected --mask, --learn, --none, --min-area or --border");
    if (values.learn && !values.data.path) return wrong_usage(&command_roi, "--learn: needs --data");
    BlemishModel *model = model_open(argv[0]);
    BlemishDataset *dataset = model && values.data.path ? data_open(&values.data) : NULL;
    code = model && (dataset || !values.data.path) ? change(&values, model, dataset, values.out ? values.out : argv[0])
                                                   : EXIT_FAILED;
    blemish_dataset_close(dataset);
    blemish_model_close(model);
    return code;
}

const Command command_roi = {
    .name = "roi",
    .summary = "set what a model ignores: the background, a border, small regions",
    .operands = "MODEL",
    .operands_least = 1,
    .operands_most = 1,
    .description =
        "Keeps in the model file which part of the image counts (the region of interest), how wide a border of each "
        "image is ignored and how small regions are left out. What is not named stays as it is.\n\n"
        "Outside the region of interest the network sees a plain grey and the map is 0: nothing there has a say in the "
        "score. A model that is trained with the region (train --roi) knows its edge; one that gets it afterwards "
        "sees defects along it: train with the region, or calibrate again and look at eval before it is used.\n\n"
        "A learned region is what changes from one good training image to the next by at least three times as much as "
        "the rest, with what it encloses and a margin of 1/32 of the shorter side. Where the images have no such two "
        "parts, the whole image counts, and a line says so.\n\n"
        "Another region makes other scores, another border other maps: thresholds stay, but what was measured before "
        "(probabilities, error rates, metrics) is dropped. The least area alters the list of regions alone.\n\n"
        "The file is written whole or not at all.",
    .example = "blemish roi screws.blemish --learn --data screws --preview region.png\n"
               "blemish roi screws.blemish --mask region.png --border 8 --min-area 30 --out screws2.blemish",
    OPTIONS(options),
    .run = run,
};
