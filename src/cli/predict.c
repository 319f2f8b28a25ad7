#include "cli.h"
#include "inputs.h"

#include <errno.h>
#include <math.h>
#include <string.h>
#include <sys/stat.h>

typedef struct Values {
    const char *out, *overlays, *maps;
    double threshold, pixel_threshold;
    uint64_t threads;
    bool fail_on_defect;
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
    {.name = "fail-on-defect",
     .help = "end with status 3 when an image is a defect",
     .kind = OPTION_FLAG,
     .offset = offsetof(Values, fail_on_defect)},
    THREADS_OPTION(Values),
};

typedef struct Run {
    const Values *values;
    BlemishSession *session;
    float threshold;
    Names overlay_names, map_names;
    FILE *out;
    const char *out_name;
    size_t defects, failures;
} Run;

static json_t *json_regions(const BlemishRegion *regions, size_t count) {
    json_t *list = json_array();
    for (size_t i = 0; list && i < count; i++) {
        const BlemishRegion *r = &regions[i];
        json_t *region = json_pack("{s:I, s:I, s:I, s:I, s:I, s:o}", "x", (json_int_t)r->x, "y", (json_int_t)r->y, //
                                   "width", (json_int_t)r->width, "height", (json_int_t)r->height,                 //
                                   "area", (json_int_t)r->area, "peak", json_number(r->peak));
        if (json_array_append_new(list, region)) {
            json_decref(list);
            return NULL;
        }
    }
    return list;
}

/* Writes the overlay and the map that were asked for and notes them in line. NULL, or why it failed. */
static const char *write_pictures(Run *run, const char *path, const BlemishImage *image, const BlemishResult *result,
                                  json_t *line) {
    const Values *values = run->values;
    if (values->overlays) {
        const char *name = names_make(&run->overlay_names, values->overlays, path, "_overlay.png");
        if (!name) return "memory is short";
        if (blemish_session_write_overlay(run->session, image, result, name))
            return blemish_session_error(run->session);
        if (json_object_set_new(line, "overlay", json_text(name))) return "memory is short";
    }
    if (values->maps) {
        const char *name = names_make(&run->map_names, values->maps, path, "_map.tiff");
        if (!name) return "memory is short";
        if (blemish_session_write_map(run->session, result, name)) return blemish_session_error(run->session);
        if (json_object_set_new(line, "map", json_text(name))) return "memory is short";
    }
    return NULL;
}

/* Judges one decoded image; *line becomes its result. NULL, or why it failed. */
static const char *judge(Run *run, const char *path, const BlemishImage *image, json_t **line) {
    BlemishResult result;
    const BlemishRegion *regions;
    size_t count;
    if (blemish_session_run(run->session, image, 1, &result) ||
        blemish_session_regions(run->session, &result, &regions, &count)) {
        return blemish_session_error(run->session);
    }
    *line = json_pack("{s:o, s:o, s:b, s:o, s:o, s:I, s:I, s:o}", "path", json_text(path),                //
                      "score", json_number(result.score), "defect", result.defect,                        //
                      "threshold", json_number(run->threshold), "map_max", json_number(result.map_max),   //
                      "width", (json_int_t)result.image_width, "height", (json_int_t)result.image_height, //
                      "regions", json_regions(regions, count));
    if (!*line) return "memory is short";
    const char *problem = write_pictures(run, path, image, &result, *line);
    if (!problem) run->defects += result.defect != 0;
    return problem;
}

/* One input, one line. Returns false when the line cannot be written: then going on is of no use. */
static bool predict_one(Run *run, const Input *input) {
    char error[BLEMISH_ERROR_SIZE] = "";
    BlemishImage image = {0};
    json_t *line = NULL;
    const char *problem = input->problem;
    if (!problem && blemish_image_load(&image, input->path, error)) problem = error;
    if (!problem) problem = judge(run, input->path, &image, &line);
    blemish_image_free(&image);
    if (problem) {
        run->failures++;
        // The library's text names the file already.
        fail("%s%s%s", input->problem ? input->path : "", input->problem ? ": " : "", problem);
        json_decref(line);
        line = json_pack("{s:o, s:o}", "path", json_text(input->path), "error", json_text(problem));
    }
    errno = 0;
    if (json_write_line(run->out, line) && !fflush(run->out)) return true;
    fail("%s: %s", run->out_name, errno ? strerror(errno) : "memory is short");
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

static int predict(Run *run, const Inputs *inputs) {
    const Values *values = run->values;
    run->out = stdout;
    run->out_name = "standard output";
    if (!make_folder(values->overlays) || !make_folder(values->maps)) return EXIT_FAILED;
    if (values->out) {
        run->out = fopen(values->out, "w");
        run->out_name = values->out;
        if (!run->out) return fail("%s: %s", values->out, strerror(errno));
    }
    bool written = true;
    size_t i = 0;
    for (; written && i < inputs->count && !stop_requested(); i++) written = predict_one(run, &inputs->items[i]);
    if (values->out && fclose(run->out) && written) {
        fail("%s: %s", values->out, strerror(errno));
        written = false;
    }
    if (!written && !values->out) fflush(stdout), clearerr(stdout); // reported already
    if (written && i < inputs->count) return fail("interrupted; %zu of %zu images are done", i, inputs->count);
    if (!written || run->failures) return EXIT_FAILED;
    return run->defects && values->fail_on_defect ? EXIT_DEFECT : EXIT_OK;
}

static int predict_with(BlemishModel *model, const Values *values, const Inputs *inputs) {
    BlemishModelInfo info = blemish_model_info(model);
    float threshold = isnan(values->threshold) ? info.threshold : (float)values->threshold;
    float pixel = isnan(values->pixel_threshold) ? info.pixel_threshold : (float)values->pixel_threshold;
    if (blemish_model_set_thresholds(model, threshold, pixel)) return fail("%s", blemish_model_error(model));
    stop_on_signals();
    Run run = {.values = values, .threshold = threshold, .session = session_open(model, values->threads)};
    int code = run.session ? predict(&run, inputs) : EXIT_FAILED;
    names_close(&run.overlay_names);
    names_close(&run.map_names);
    blemish_session_close(run.session);
    return code;
}

static int run(int argc, char **argv) {
    Values values = {0};
    Inputs inputs = {0};
    size_t count;
    int code = options_parse(&command_predict, argc, argv, &values, &count);
    if (code >= 0) return code;
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
        "pixel threshold, each with x, y, width, height, area and peak in pixels of the image, the largest peak first; "
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
