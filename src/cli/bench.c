#include "profile.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

typedef struct Values {
    const char *backbone, *weights, *precision;
    ImageSize size;
    uint64_t batch, threads, runs, warmup;
    bool profile, json;
} Values;

static const Option options[] = {
    BACKBONE_OPTION(Values, "the network to time where no MODEL is given"),
    {.name = "weights",
     .argument = "FILE",
     .help = "weights of a backbone other than builtin; otherwise test values, which take as long",
     .kind = OPTION_TEXT,
     .offset = offsetof(Values, weights)},
    {.name = "size",
     .argument = "HxW",
     .initial = "256",
     .help = "its input size, one number for a square",
     .kind = OPTION_SIZE,
     .offset = offsetof(Values, size)},
    {.name = "batch",
     .argument = "N",
     .initial = "1",
     .help = "images run at once",
     .kind = OPTION_WHOLE,
     .offset = offsetof(Values, batch),
     .least = 1,
     .most = 1024},
    THREADS_OPTION(Values),
    PRECISION_OPTION(Values),
    {.name = "runs",
     .argument = "N",
     .initial = "50",
     .help = "timed runs",
     .kind = OPTION_WHOLE,
     .offset = offsetof(Values, runs),
     .least = 1,
     .most = 1000000},
    {.name = "warmup",
     .argument = "N",
     .initial = "5",
     .help = "runs before them",
     .kind = OPTION_WHOLE,
     .offset = offsetof(Values, warmup),
     .most = 1000000},
    PROFILE_OPTION(Values, "after the timed runs as many more, by stage, against this machine's peak"),
    {.name = "json", .help = "print a JSON object", .kind = OPTION_FLAG, .offset = offsetof(Values, json)},
};

typedef struct Timing {
    double load_ms, median_ms, p99_ms; /* the last two for a whole batch */
    double peak_rss_mb;
    const BlemishStage *stages; /* with --profile, summed over the runs */
    size_t stage_count;
    BlemishPeak peak;
} Timing;

static int compare(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Noise: no run is then helped by equal values. */
static void fill_noise(uint8_t *pixels, size_t count) {
    uint64_t state = 88172645463325252u;
    for (size_t i = 0; i < count; i++) {
        state ^= state << 13, state ^= state >> 7, state ^= state << 17; // Marsaglia's xorshift64
        pixels[i] = (uint8_t)(state >> 32);
    }
}

static int profile_runs(BlemishSession *session, const BlemishImage *images, BlemishResult *results,
                        const Values *values, Timing *timing) {
    char error[BLEMISH_ERROR_SIZE];
    BlemishStatus status = blemish_session_set_profile(session, 1);
    for (uint64_t i = 0; i < values->runs && !status; i++)
        status = blemish_session_run(session, images, values->batch, results);
    if (status) return fail("%s", blemish_session_error(session));
    blemish_session_set_profile(session, 0);
    timing->stage_count = blemish_session_profile(session, &timing->stages);
    if (blemish_peak_measure((int)values->threads, &timing->peak, error)) return fail("%s", error);
    return EXIT_OK;
}

static int time_runs(BlemishSession *session, const BlemishImage *images, BlemishResult *results, double *ms,
                     const Values *values, Timing *timing) {
    for (uint64_t i = 0; i < values->warmup + values->runs; i++) {
        double start = seconds_now();
        if (blemish_session_run(session, images, values->batch, results)) {
            return fail("%s", blemish_session_error(session));
        }
        if (i >= values->warmup) ms[i - values->warmup] = 1e3 * (seconds_now() - start);
    }
    size_t n = values->runs;
    qsort(ms, n, sizeof *ms, compare);
    timing->median_ms = (ms[(n - 1) / 2] + ms[n / 2]) / 2;
    timing->p99_ms = ms[(size_t)ceil(0.99 * (double)n) - 1];
    struct rusage usage; // before the profile, whose measurement of the peak takes memory of its own
    getrusage(RUSAGE_SELF, &usage);
    timing->peak_rss_mb = (double)usage.ru_maxrss / 1024;
    return values->profile ? profile_runs(session, images, results, values, timing) : EXIT_OK;
}

static int time_session(BlemishSession *session, const BlemishModelInfo *info, const Values *values, Timing *timing) {
    size_t pixels = info->height * info->width * 3, batch = values->batch;
    uint8_t *data = calloc(batch, pixels);
    BlemishImage *images = calloc(batch, sizeof *images);
    BlemishResult *results = calloc(batch, sizeof *results);
    double *ms = calloc(values->runs, sizeof *ms);
    int code = EXIT_FAILED;
    if (data && images && results && ms) {
        fill_noise(data, batch * pixels);
        for (size_t i = 0; i < batch; i++) {
            images[i] = (BlemishImage){.data = data + i * pixels,
                                       .width = info->width,
                                       .height = info->height,
                                       .stride = info->width * 3,
                                       .channels = 3};
        }
        code = time_runs(session, images, results, ms, values, timing);
    } else {
        fail("memory is short");
    }
    free(data);
    free(images);
    free(results);
    free(ms);
    return code;
}

static int report(const BlemishModelInfo *info, const BlemishSessionCost *cost, const Values *values, const Timing *t) {
    double batch = (double)values->batch, images_per_s = 1e3 * batch / t->median_ms;
    double images = batch * (double)values->runs;
    if (values->json) {
        json_t *profile = values->profile ? profile_json(t->stages, t->stage_count, &t->peak, images) : NULL;
        return json_print(json_pack(
            "{s:s, s:I, s:I, s:I, s:i, s:s, s:I, s:I, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:o*}",    //
            "backbone", info->backbone, "height", (json_int_t)info->height, "width", (json_int_t)info->width, //
            "batch", (json_int_t)values->batch, "threads", cost->threads, "precision", cost->precision,       //
            "runs", (json_int_t)values->runs, "warmup", (json_int_t)values->warmup,                           //
            "median_ms", t->median_ms, "p99_ms", t->p99_ms, "median_ms_per_image", t->median_ms / batch,      //
            "p99_ms_per_image", t->p99_ms / batch, "images_per_s", images_per_s, "gmac", cost->gmac,          //
            "gmac_published", cost->gmac_published, "load_ms", t->load_ms, "peak_rss_mb", t->peak_rss_mb, "profile",
            profile));
    }
    printf("%s %zux%zu, batch %zu, %d threads, %s\n", info->backbone, info->height, info->width, (size_t)values->batch,
           cost->threads, cost->precision);
    printf("  batch       %.2f ms median, %.2f ms p99 of %zu runs\n", t->median_ms, t->p99_ms, (size_t)values->runs);
    printf("  image       %.2f ms median, %.1f images/s\n", t->median_ms / batch, images_per_s);
    printf("  cost        %.2f GMAC per image (%.2f as published), %.0f GMAC/s\n", cost->gmac, cost->gmac_published,
           cost->gmac * images_per_s);
    printf("  load        %.0f ms\n  peak memory %.0f MiB\n", t->load_ms, t->peak_rss_mb);
    if (values->profile) profile_print(t->stages, t->stage_count, &t->peak, images, "per image");
    return EXIT_OK;
}

static int bench(const char *path, const Values *values) {
    BlemishModel *model;
    BlemishSession *session = NULL;
    BlemishSessionSettings settings;
    Timing timing = {0};
    int code = EXIT_FAILED;
    double start = seconds_now();
    blemish_session_defaults(&settings);
    settings.threads = (int)values->threads;
    settings.batch = values->batch;
    settings.precision = precision_of(values->precision);
    BlemishStatus status = path ? blemish_model_open(&model, path)
                                : blemish_model_untrained(&model, values->backbone, values->weights,
                                                          values->size.height, values->size.width);
    if (status) {
        fail("%s", model ? blemish_model_error(model) : "memory is short");
    } else if (blemish_session_open(&session, model, &settings)) {
        fail("%s", session ? blemish_session_error(session) : "memory is short");
    } else {
        timing.load_ms = 1e3 * (seconds_now() - start);
        BlemishModelInfo info = blemish_model_info(model);
        BlemishSessionCost cost = blemish_session_cost(session);
        code = time_session(session, &info, values, &timing);
        if (!code) code = report(&info, &cost, values, &timing);
    }
    blemish_session_close(session);
    blemish_model_close(model);
    return code;
}

static int run(int argc, char **argv) {
    Values values = {0};
    size_t count;
    int code = options_parse(&command_bench, argc, argv, &values, &count);
    return code >= 0 ? code : bench(count ? argv[0] : NULL, &values);
}

const Command command_bench = {
    .name = "bench",
    .summary = "time a model on this machine",
    .operands = "[MODEL]",
    .operands_most = 1,
    .description = "Times a session on pixels in memory, from the image to its score and map, without decoding. MODEL, "
                   "or a network with untrained heads. Times are milliseconds per batch unless they say "
                   "per image; load is the time to open the model and a session.",
    .example = "blemish bench --backbone wide_resnet50_2 --size 256 --batch 1 --threads 2 --json",
    OPTIONS(options),
    .run = run,
};
