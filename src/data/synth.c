/* Procedural surfaces in the MVTec AD layout, plus defects for training (train/<type>, whose masks have a "train_"
 * name in ground_truth/<type>). */
#include "data/synth.h"
#include "data/layout.h"
#include "data/surfaces.h"

#include <dirent.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { SYNTH_SIDE_MIN = 32, SYNTH_SIDE_MAX = 8192 };
enum { SYNTH_IMAGES_MAX = 1000000 };

/* One image to make: its folder is split/type. */
typedef struct Job {
    const char *split, *type;
    size_t number, program;
    bool defect;
    size_t defect_type;
} Job;

/* The index-th image: good and defective ones for training, then for testing; the types take turns. */
static Job job_at(const BlemishSynthSettings *s, size_t index) {
    const size_t counts[4] = {s->train_good, s->train_defect, s->test_good, s->test_defect};
    size_t part = 0;
    const size_t images = counts[0] + counts[1] + counts[2] + counts[3], program = index / images;
    index %= images;
    while (index >= counts[part]) index -= counts[part++];
    Job job = {
        .split = part < 2 ? "train" : "test", .type = "good", .number = index, .program = program, .defect = part & 1};
    if (job.defect) {
        const size_t types = s->families ? FLAW_FAMILIES : DEFECT_TYPES;
        job.defect_type = index % types;
        job.type = s->families ? flaw_name(job.defect_type) : defect_names[job.defect_type];
        job.number = index / types;
    }
    return job;
}

static BlemishStatus make_folder(const char *path, Error *e) {
    if (mkdir(path, 0777) == 0 || (errno == EEXIST && is_folder(path))) return BLEMISH_OK;
    return error_errno(e, "%s", path);
}

/* Makes `path` and the folders it is in. */
static BlemishStatus make_folders(const char *path, Error *e) {
    char *part = text_copy(path, e);
    if (part == NULL) return e->status;
    BlemishStatus status = BLEMISH_OK;
    for (char *c = part + 1; status == BLEMISH_OK && *part && *c; c++)
        if (*c == '/') {
            *c = 0;
            status = make_folder(part, e);
            *c = '/';
        }
    if (status == BLEMISH_OK) status = make_folder(part, e);
    free(part);
    return status;
}

static BlemishStatus make_parent_and_write(char *path, const BlemishImage *image, Error *e) {
    if (path == NULL) return e->status;
    char *slash = strrchr(path, '/');
    *slash = 0;
    BlemishStatus status = make_folders(path, e);
    *slash = '/';
    return status == BLEMISH_OK ? image_write_png(image, path, e) : status;
}

static BlemishStatus refuse_used_folder(const char *path, Error *e) {
    DIR *dir = opendir(path);
    if (dir == NULL) return error_errno(e, "%s", path);
    struct dirent *entry;
    do entry = readdir(dir);
    while (entry && (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0));
    if (entry) error_set(e, BLEMISH_ERROR_ARGUMENT, "%s: found %s, expected an empty folder", path, entry->d_name);
    closedir(dir);
    return entry ? e->status : BLEMISH_OK;
}

/* Of one image: images are spread over threads already. */
static BlemishSurfaceSettings surface_settings(const BlemishSynthSettings *s) {
    return (BlemishSurfaceSettings){
        .seed = s->seed, .width = s->width, .height = s->height, .families = s->families, .nuisance = 1, .threads = 1};
}

static BlemishStatus check_settings(const BlemishSynthSettings *s, size_t *images, Error *e) {
    if (s->width < SYNTH_SIDE_MIN || s->height < SYNTH_SIDE_MIN || s->width > SYNTH_SIDE_MAX ||
        s->height > SYNTH_SIDE_MAX)
        return error_set(e, BLEMISH_ERROR_ARGUMENT, "size: found %zu x %zu, expected %d to %d pixels a side", s->width,
                         s->height, SYNTH_SIDE_MIN, SYNTH_SIDE_MAX);
    const size_t counts[4] = {s->train_good, s->train_defect, s->test_good, s->test_defect};
    *images = 0;
    for (size_t i = 0; i < 4; i++)
        if (!size_add(*images, counts[i], images) || *images > SYNTH_IMAGES_MAX)
            return error_set(e, BLEMISH_ERROR_ARGUMENT, "images: found more than %d, expected 1 to %d",
                             SYNTH_IMAGES_MAX, SYNTH_IMAGES_MAX);
    if (s->programs < 1 || !size_mul(*images, s->programs, images) || *images > SYNTH_IMAGES_MAX)
        return error_set(e, BLEMISH_ERROR_ARGUMENT, "programs: found %zu, expected 1 or more, of %d images in all",
                         s->programs, SYNTH_IMAGES_MAX);
    if (s->programs > 1 && s->families == 0)
        return error_set(e, BLEMISH_ERROR_ARGUMENT, "programs: found %zu without families, expected 1", s->programs);
    BlemishSurfaceSettings surface = surface_settings(s);
    if (surface_settings_check(&surface, e)) return e->status;
    if (s->defect_size > s->width || s->defect_size > s->height)
        return error_set(e, BLEMISH_ERROR_ARGUMENT, "defect_size: found %zu, expected at most the image's %zu x %zu",
                         s->defect_size, s->width, s->height);
    if (s->defect_size && s->families)
        return error_set(e, BLEMISH_ERROR_ARGUMENT, "defect_size: found %zu with families, expected 0: theirs vary",
                         s->defect_size);
    if (s->train_good == 0)
        return error_set(e, BLEMISH_ERROR_ARGUMENT, "train_good: found 0, expected at least one image");
    return BLEMISH_OK;
}

static void canvas_close(Canvas *c) {
    array_free(c->rgb);
    array_free(c->core);
    array_free(c->rim);
    array_free(c->mask);
}

static BlemishStatus canvas_open(Canvas *c, size_t width, size_t height, Error *e) {
    size_t pixels = width * height; /* within SYNTH_SIDE_MAX squared */
    *c = (Canvas){.width = width, .height = height, .unit = (float)(width < height ? width : height) / 256};
    c->rgb = array_new(pixels, 3 * sizeof *c->rgb, e);
    c->core = array_new(pixels, sizeof *c->core, e);
    c->rim = array_new(pixels, sizeof *c->rim, e);
    c->mask = array_new(pixels, sizeof *c->mask, e);
    if (c->rgb && c->core && c->rim && c->mask) return BLEMISH_OK;
    canvas_close(c);
    return e->status;
}

static void paint_plain(Canvas *c, uint8_t *bytes, const BlemishSynthSettings *s, Job job, uint64_t stream) {
    Random r = random_new(s->seed, stream);
    surface_paint(c, s->seed, &r);
    if (job.defect) {
        Canvas scaled = *c;
        if (s->defect_size) scaled.unit = defect_unit(job.defect_type, s->defect_size);
        defect_paint(&scaled, job.defect_type, &r);
    }
    surface_light(c, &r);
    for (size_t i = 0; i < 3 * c->width * c->height; i++) bytes[i] = (uint8_t)lrintf(255 * clamp01(c->rgb[i]));
}

static BlemishStatus paint_family(Canvas *c, uint8_t *bytes, const BlemishSynthSettings *s, Job job, uint64_t sample,
                                  Error *e) {
    const BlemishSurfaceSettings one = surface_settings(s);
    const uint64_t program = job.program;
    const int32_t defect = job.defect ? (int32_t)job.defect_type : -1;
    return surface_images(&one, 1, &program, &sample, &defect, bytes, c->mask, e);
}

/* Makes and writes one image, its mask first: an image is never there without it. */
static BlemishStatus write_job(Canvas *c, uint8_t *bytes, const char *dir, const BlemishSynthSettings *s, Job job,
                               Error *e) {
    char name[64];
    snprintf(name, sizeof name, "%s%03zu", job.defect && strcmp(job.split, "train") == 0 ? "train_" : "", job.number);
    Text stream = {0}; /* an image depends on its own name only, not on how many others there are */
    text_format(&stream, "%s/%s/%s", job.split, job.type, name);
    if (stream.failed) return error_set(e, BLEMISH_ERROR_MEMORY, "out of memory for a name");
    const uint64_t sample = fnv1a64(stream.data, stream.length, FNV1A64_BASIS);
    text_free(&stream);

    if (s->families)
        paint_family(c, bytes, s, job, sample, e);
    else
        paint_plain(c, bytes, s, job, sample);
    if (e->status != BLEMISH_OK) return e->status;

    BlemishStatus status = BLEMISH_OK;
    if (job.defect) {
        BlemishImage mask = {
            .data = c->mask, .width = c->width, .height = c->height, .stride = c->width, .channels = 1};
        char *path = path_format(e, "%s/ground_truth/%s/%s_mask.png", dir, job.type, name);
        status = make_parent_and_write(path, &mask, e);
        free(path);
    }
    if (status == BLEMISH_OK) {
        BlemishImage image = {
            .data = bytes, .width = c->width, .height = c->height, .stride = 3 * c->width, .channels = 3};
        char *path = path_format(e, "%s/%s/%s/%s.png", dir, job.split, job.type, name);
        status = make_parent_and_write(path, &image, e);
        free(path);
    }
    return status;
}

/* The data set of one of several programs is dir/NUMBER-FAMILY. */
static BlemishStatus write_in_its_folder(Canvas *c, uint8_t *bytes, const char *dir, const BlemishSynthSettings *s,
                                         Job job, Error *e) {
    if (s->programs == 1) return write_job(c, bytes, dir, s, job, e);
    char *folder = path_format(e, "%s/%04zu-%s", dir, job.program,
                               surface_program(s->seed, s->families, job.program).family->name);
    if (folder) write_job(c, bytes, folder, s, job, e);
    free(folder);
    return e->status;
}

static BlemishStatus report(const BlemishSynthSettings *s, size_t done, size_t total, double start, Error *e) {
    if (s->progress == NULL) return BLEMISH_OK;
    double seconds = now_seconds() - start, rate = seconds > 0 ? (double)done / seconds : 0;
    BlemishProgress p = {.stage = "synth",
                         .done = done,
                         .total = total,
                         .loss = NAN,
                         .items_per_second = rate,
                         .seconds_left = rate > 0 ? (double)(total - done) / rate : -1};
    if (s->progress(s->progress_user, &p) == 0) return BLEMISH_OK;
    return error_set(e, BLEMISH_ERROR_INTERRUPTED, "stopped after %zu of %zu images", done, total);
}

BlemishStatus synth_write(const char *dir, const BlemishSynthSettings *settings, Error *e) {
    size_t images;
    Canvas canvas;
    if (check_settings(settings, &images, e) != BLEMISH_OK) return e->status;
    if (make_folders(dir, e) != BLEMISH_OK || refuse_used_folder(dir, e) != BLEMISH_OK) return e->status;
    if (canvas_open(&canvas, settings->width, settings->height, e) != BLEMISH_OK) return e->status;
    uint8_t *bytes = array_new(canvas.width * canvas.height, 3, e);
    BlemishStatus status = bytes ? BLEMISH_OK : e->status;
    double start = now_seconds();
    for (size_t i = 0; status == BLEMISH_OK && i < images; i++) {
        status = report(settings, i, images, start, e);
        if (status == BLEMISH_OK) status = write_in_its_folder(&canvas, bytes, dir, settings, job_at(settings, i), e);
    }
    if (status == BLEMISH_OK) status = report(settings, images, images, start, e);
    array_free(bytes);
    canvas_close(&canvas);
    return status;
}
