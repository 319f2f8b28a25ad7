#include "cli.h"
#include "inputs.h"
#include "ordered.h"

#include <errno.h>
#include <math.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/stat.h>
#ifdef __GLIBC__
#include <malloc.h>
#endif

typedef struct Values {
    const char *out, *overlays, *maps, *precision;
    double threshold, pixel_threshold;
    uint64_t threads, min_area, border;
    bool fail_on_defect, tiles, no_tiles;
} Values;

static const Option options[] = {
    {.name = "out",
     .argument = "FILE",
     .help = "write the results there instead of to standard output, each line as soon as its image is done",
     .kind = OPTION_TEXT,
     .offset = offsetof(Values, out)},
    {.name = "overlays",
     .argument = "DIR",
     .help = "write each image with its map in colour and its regions (PNG)",
     .kind = OPTION_TEXT,
     .offset = offsetof(Values, overlays)},
    {.name = "maps",
     .argument = "DIR",
     .help = "write each map at its image's size (TIFF, one 32-bit float a pixel)",
     .kind = OPTION_TEXT,
     .offset = offsetof(Values, maps)},
    {.name = "threshold",
     .argument = "P",
     .help = "score from which on an image is a defect; otherwise the model's",
     .kind = OPTION_FRACTION,
     .offset = offsetof(Values, threshold)},
    {.name = "pixel-threshold",
     .argument = "P",
     .help = "map value from which on a pixel is part of a region; otherwise the model's",
     .kind = OPTION_FRACTION,
     .offset = offsetof(Values, pixel_threshold)},
    MIN_AREA_OPTION(Values, "least pixels of a region, smaller ones are left out; otherwise the model's"),
    BORDER_OPTION(Values, "pixels at each edge of an image in which the map is ignored; otherwise the model's"),
    {.name = "fail-on-defect",
     .help = "end with status 3 when an image is a defect",
     .kind = OPTION_FLAG,
     .offset = offsetof(Values, fail_on_defect)},
    THREADS_OPTION(Values),
    PRECISION_OPTION(Values),
    TILES_OPTIONS(Values),
};

// Opening a session takes as long as some images; then several of them pay, whose images are decoded and written at
// once.
enum { FEW_IMAGES = 64 };

// One image on its way, in its slot.
typedef struct Outcome {
    const char *overlay, *map; // names of the pictures to write; NULL: none, or memory is short
    json_t *line;
    bool defect;
    char problem[BLEMISH_ERROR_SIZE]; // empty: none
} Outcome;

typedef struct Run {
    const Values *values;
    const Inputs *inputs;
    BlemishModel *model;
    float threshold;
    int threads; // of all sessions together
    size_t workers;
    BlemishSession *sessions[ORDERED_WORKERS_MAX];
    Outcome outcomes[ORDERED_SLOTS];
    Names overlay_names, map_names;
    FILE *out;
    const char *out_name;
    size_t defects, failures;
    atomic_bool broken; // a session could not be opened or a line not be written; reported
} Run;

static json_t *json_regions(const BlemishRegion *regions, size_t count) {
    json_t *list = json_array();
    for (size_t i = 0; list && i < count; i++) {
        const BlemishRegion *r = &regions[i];
        json_t *region =
            json_pack("{s:I, s:I, s:I, s:I, s:I, s:o, s:o, s:o}", "x", (json_int_t)r->x, "y", (json_int_t)r->y, //
                      "width", (json_int_t)r->width, "height", (json_int_t)r->height,                           //
                      "area", (json_int_t)r->area, "peak", json_number(r->peak),                                //
                      "centroid_x", json_number(r->centroid_x), "centroid_y", json_number(r->centroid_y));
        if (json_array_append_new(list, region)) {
            json_decref(list);
            return NULL;
        }
    }
    return list;
}

/* Writes the overlay and the map that were asked for and notes them in line. NULL, or why it failed. */
static const char *write_pictures(const Values *values, BlemishSession *session, const BlemishImage *image,
                                  const BlemishResult *result, Outcome *outcome) {
    if ((values->overlays && !outcome->overlay) || (values->maps && !outcome->map)) return "memory is short";
    if (outcome->overlay) {
        if (blemish_session_write_overlay(session, image, result, outcome->overlay))
            return blemish_session_error(session);
        if (json_object_set_new(outcome->line, "overlay", json_text(outcome->overlay))) return "memory is short";
    }
    if (outcome->map) {
        if (blemish_session_write_map(session, result, outcome->map)) return blemish_session_error(session);
        if (json_object_set_new(outcome->line, "map", json_text(outcome->map))) return "memory is short";
    }
    return NULL;
}

/* Judges one decoded image. NULL, or why it failed. */
static const char *judge(const Run *run, BlemishSession *session, const char *path, const BlemishImage *image,
                         Outcome *outcome) {
    BlemishResult result;
    const BlemishRegion *regions;
    size_t count;
    if (blemish_session_run(session, image, 1, &result) ||
        blemish_session_regions(session, &result, &regions, &count)) {
        return blemish_session_error(session);
    }
    outcome->defect = result.defect;
    outcome->line = json_pack("{s:o, s:o, s:b, s:o, s:o, s:I, s:I, s:o}", "path", json_text(path),                //
                              "score", json_number(result.score), "defect", result.defect,                        //
                              "threshold", json_number(run->threshold), "map_max", json_number(result.map_max),   //
                              "width", (json_int_t)result.image_width, "height", (json_int_t)result.image_height, //
                              "regions", json_regions(regions, count));
    if (outcome->line && !isnan(result.probability) &&
        json_object_set_new(outcome->line, "probability", json_number(result.probability)))
        return "memory is short";
    return outcome->line ? write_pictures(run->values, session, image, &result, outcome) : "memory is short";
}

// ---- the steps of ordered_run

static bool start(void *user, size_t worker) {
    Run *run = user;
    if (run->sessions[worker]) return true;
    const size_t threads = (size_t)run->threads;
    run->sessions[worker] = session_open(run->model, threads / run->workers + (worker < threads % run->workers),
                                         run->values->precision, tiles_of(run->values->tiles, run->values->no_tiles));
    if (!run->sessions[worker]) run->broken = true;
    return run->sessions[worker];
}

/* Names are given in the order of the images, so that they do not depend on which is done first. */
static void take(void *user, size_t item, size_t slot) {
    Run *run = user;
    const Values *values = run->values;
    const Input *input = &run->inputs->items[item];
    Outcome *outcome = &run->outcomes[slot];
    *outcome = (Outcome){0};
    if (input->problem) return;
    if (values->overlays)
        outcome->overlay = names_make(&run->overlay_names, values->overlays, input->path, "_overlay.png");
    if (values->maps) outcome->map = names_make(&run->map_names, values->maps, input->path, "_map.tiff");
}

static void work(void *user, size_t worker, size_t item, size_t slot) {
    Run *run = user;
    const Input *input = &run->inputs->items[item];
    Outcome *outcome = &run->outcomes[slot];
    BlemishImage image = {0};
    if (input->problem) {
        snprintf(outcome->problem, sizeof outcome->problem, "%s", input->problem);
    } else if (!blemish_image_load(&image, input->path, outcome->problem)) {
        const char *problem = judge(run, run->sessions[worker], input->path, &image, outcome);
        snprintf(outcome->problem, sizeof outcome->problem, "%s", problem ? problem : "");
    }
    blemish_image_free(&image);
}

/* One input, one line. Returns false when the line cannot be written: then going on is of no use. */
static bool hand_over(void *user, size_t item, size_t slot) {
    Run *run = user;
    const Input *input = &run->inputs->items[item];
    Outcome *outcome = &run->outcomes[slot];
    json_t *line = outcome->line;
    outcome->line = NULL;
    if (*outcome->problem) {
        run->failures++;
        // The library's text names the file already.
        fail("%s%s%s", input->problem ? input->path : "", input->problem ? ": " : "", outcome->problem);
        json_decref(line);
        line = json_pack("{s:o, s:o}", "path", json_text(input->path), "error", json_text(outcome->problem));
    } else {
        run->defects += outcome->defect;
    }
    errno = 0;
    if (json_write_line(run->out, line) && !fflush(run->out)) return true;
    fail("%s: %s", run->out_name, errno ? strerror(errno) : "memory is short");
    run->broken = true;
    return false;
}

static bool make_folder(const char *path) {
    struct stat status;
    if (!path || !mkdir(path, 0777)) return true;
    int code = errno;
    if (code == EEXIST && !stat(path, &status) && S_ISDIR(status.st_mode)) return true;
    fail("%s: %s", path, strerror(code));
    return false;
}

static int predict(Run *run) {
    const Values *values = run->values;
    run->out = stdout;
    run->out_name = "standard output";
    if (!make_folder(values->overlays) || !make_folder(values->maps)) return EXIT_FAILED;
    if (values->out) {
        run->out = fopen(values->out, "w");
        run->out_name = values->out;
        if (!run->out) return fail("%s: %s", values->out, strerror(errno));
    }
    const Ordered job = {run->inputs->count, run->workers, run, start, take, work, hand_over, stop_requested};
    const size_t done = ordered_run(&job);
    for (size_t i = 0; i < ORDERED_SLOTS; i++) json_decref(run->outcomes[i].line);
    if (values->out && fclose(run->out) && !run->broken) {
        fail("%s: %s", values->out, strerror(errno));
        run->broken = true;
    }
    if (run->broken && !values->out) fflush(stdout), clearerr(stdout); // reported already
    if (run->broken) return EXIT_FAILED;
    if (done < run->inputs->count) return fail("interrupted; %zu of %zu images are done", done, run->inputs->count);
    if (run->failures) return EXIT_FAILED;
    return run->defects && values->fail_on_defect ? EXIT_DEFECT : EXIT_OK;
}

static int predict_with(BlemishModel *model, const Values *values, const Inputs *inputs) {
    BlemishModelInfo info = blemish_model_info(model);
    float threshold = isnan(values->threshold) ? info.threshold : (float)values->threshold;
    float pixel = isnan(values->pixel_threshold) ? info.pixel_threshold : (float)values->pixel_threshold;
    if (blemish_model_set_thresholds(model, threshold, pixel)) return fail("%s", blemish_model_error(model));
    const size_t min_area = values->min_area == UINT64_MAX ? info.min_area : values->min_area;
    const size_t border = values->border == UINT64_MAX ? info.border : values->border;
    if (blemish_model_set_regions(model, min_area, border)) return fail("%s", blemish_model_error(model));
    stop_on_signals();
    Run run = {.values = values, .inputs = inputs, .model = model, .threshold = threshold, .workers = 1};
    run.threads = values->threads ? (int)values->threads : blemish_threads_default();
    if (inputs->count >= FEW_IMAGES)
        run.workers = run.threads < ORDERED_WORKERS_MAX ? (size_t)run.threads : ORDERED_WORKERS_MAX;
    int code = start(&run, 0) ? predict(&run) : EXIT_FAILED; // the first one before any file is made
    names_close(&run.overlay_names);
    names_close(&run.map_names);
    for (size_t i = 0; i < ORDERED_WORKERS_MAX; i++) blemish_session_close(run.sessions[i]);
    return code;
}

static int run(int argc, char **argv) {
    Values values = {0};
    Inputs inputs = {0};
    size_t count;
    int code = options_parse(&command_predict, argc, argv, &values, &count);
    if (code >= 0) return code;
#ifdef __GLIBC__
    // Left to itself, glibc keeps the large arrays that opening needs for a moment: 20 MB more for WideResNet50.
    mallopt(M_MMAP_THRESHOLD, 1 << 20);
#endif
    bool fine = true;
    for (size_t i = 1; fine && i < count; i++) fine = inputs_add(&inputs, argv[i]);
    BlemishModel *model = fine ? model_open(argv[0]) : NULL;
    if (!fine) fail("memory is short");
    code = model ? predict_with(model, &values, &inputs) : EXIT_FAILED;
    blemish_model_close(model);
    inputs_close(&inputs);
    return code;
}

const Command command_predict = {
    .name = "predict",
    .summary = "find the defects of images",
    .operands = "MODEL IMAGE...",
    .operands_least = 2,
    .operands_most = SIZE_MAX,
    .description =
        "Prints one JSON object a line and image (JSON Lines): path, score, defect (the verdict: the score reaches the "
        "threshold), threshold, map_max, width, height, and regions, the connected parts of the map that reach the "
        "pixel threshold, each with x, y, width, height, area, peak, centroid_x and centroid_y in pixels of the image "
        "(a pixel's centre has whole coordinates), the largest peak first; of a model with calibrated probabilities "
        "also probability, that the image is a defect; "
        "with --overlays and --maps also the names of the files written, overlay and map.\n\n"
        "IMAGE is a JPEG, PNG, TIFF or BMP file, a folder (its .jpg, .jpeg, .png, .tif, .tiff and .bmp files sorted by "
        "name, hidden files and subfolders left out), or a quoted pattern such as 'line3/*.png'.\n\n"
        "An image that cannot be read gives a line on standard error and the object {\"path\", \"error\"}; the run "
        "goes "
        "on and ends with status 1. Ctrl-C (SIGINT or SIGTERM) finishes the image at work and ends with status 1; the "
        "lines and files written till then stay.",
    .example = "blemish predict tiles.blemish photos --overlays seen > results.jsonl",
    .exit_status = "3  with --fail-on-defect: everything was done and an image is a defect",
    OPTIONS(options),
    .run = run,
};
