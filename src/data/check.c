/* Every file of a data set read once: what is there, and what is wrong with it. */
#include "data/data.h"
#include "store/store.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct Content {
    char sha256[65];
    size_t sample;
} Content;

static const char *const split_names[] = {"training", "test"};

/* Keeps what was wrong with a file as a problem; a lack of memory stays an error. */
static BlemishStatus keep(Check *c, BlemishProblemKind kind, Error *e) {
    if (e->status == BLEMISH_ERROR_MEMORY) return e->status;
    const Error found = *e;
    *e = (Error){0};
    return problems_add(&c->problems, kind, e, "%s", found.text);
}

static BlemishStatus count_size(Check *c, const BlemishImage *image, Error *e) {
    BlemishDataReport *r = &c->report;
    for (size_t i = 0; i < r->size_count; i++)
        if (c->sizes[i].width == image->width && c->sizes[i].height == image->height) {
            c->sizes[i].count++;
            return BLEMISH_OK;
        }
    if (r->size_count == c->size_capacity) {
        size_t capacity = c->size_capacity ? 2 * c->size_capacity : 16;
        BlemishSizeCount *sizes = reallocarray(c->sizes, capacity, sizeof *sizes);
        if (sizes == NULL) return error_set(e, BLEMISH_ERROR_MEMORY, "out of memory for %zu sizes", capacity);
        c->sizes = sizes;
        c->size_capacity = capacity;
    }
    c->sizes[r->size_count++] = (BlemishSizeCount){image->width, image->height, 1};
    return BLEMISH_OK;
}

/* Looks at the mask of an image of width x height; width 0: the image could not be read. */
static BlemishStatus check_mask(Check *c, MaskReader *reader, const Sample *s, size_t width, size_t height, Error *e) {
    const bool good = s->label == BLEMISH_LABEL_GOOD;
    const char *path = good ? s->unused_mask : s->mask_path;
    BlemishImage mask;
    if (path == NULL || width == 0) return BLEMISH_OK;
    if (mask_read(reader, path, s->path, &mask, e)) return keep(c, BLEMISH_PROBLEM_MASK_UNREADABLE, e);
    const bool empty = mask.data == NULL;
    image_free(&mask);
    if (!good) c->report.masks[s->split] += !empty;
    if (!good && empty &&
        problems_add(&c->problems, BLEMISH_PROBLEM_MASK_EMPTY, e,
                     "%s: mask: found no pixel set in %s, expected the defect; only the label is used", s->path, path))
        return e->status;
    if (good && !empty &&
        problems_add(&c->problems, BLEMISH_PROBLEM_MASK_OF_GOOD, e,
                     "%s: label: found good, but a mask that is not empty (%s); the mask is not used", s->path, path))
        return e->status;
    if (reader->width == width && reader->height == height) return BLEMISH_OK;
    return problems_add(&c->problems, BLEMISH_PROBLEM_MASK_SIZE, e,
                        "%s: size: found a mask of %zu x %zu (%s), expected the image's %zu x %zu; it is resized",
                        s->path, reader->width, reader->height, path, width, height);
}

static BlemishStatus check_sample(Check *c, MaskReader *reader, const Sample *s, Content *content, Error *e) {
    BlemishDataReport *r = &c->report;
    BlemishImage image;
    r->images[s->split]++;
    (s->label == BLEMISH_LABEL_GOOD ? r->good : s->label == BLEMISH_LABEL_DEFECT ? r->defects : r->unknown)[s->split]++;
    if (sha256_file(s->path, content->sha256, e) || image_decode(&image, s->path, e)) {
        content->sha256[0] = 0;
        return keep(c, BLEMISH_PROBLEM_IMAGE_UNREADABLE, e);
    }
    const size_t width = image.width, height = image.height;
    BlemishStatus status = count_size(c, &image, e);
    image_free(&image);
    return status == BLEMISH_OK ? check_mask(c, reader, s, width, height, e) : status;
}

static int compare_contents(const void *a, const void *b) {
    const Content *x = a, *y = b;
    const int order = strcmp(x->sha256, y->sha256);
    return order ? order : (x->sample > y->sample) - (x->sample < y->sample);
}

static BlemishStatus check_repeats(Check *c, const Manifest *m, Content *contents, Error *e) {
    qsort(contents, m->count, sizeof *contents, compare_contents);
    for (size_t i = 1, first = 0; i < m->count; i++) {
        if (contents[i].sha256[0] == 0 || strcmp(contents[i].sha256, contents[first].sha256) != 0) {
            first = i;
            continue;
        }
        const Sample *s = &m->samples[contents[i].sample], *twin = &m->samples[contents[first].sample];
        const bool leaked = s->split != twin->split;
        if (problems_add(&c->problems, leaked ? BLEMISH_PROBLEM_LEAKED : BLEMISH_PROBLEM_REPEATED, e,
                         "%s: content: found the same in %s of the %s split, expected each image %s", s->path,
                         twin->path, split_names[twin->split], leaked ? "in one split" : "once"))
            return e->status;
    }
    return BLEMISH_OK;
}

static int compare_problems(const void *a, const void *b) {
    const BlemishProblem *x = a, *y = b;
    return x->kind != y->kind ? (int)x->kind - (int)y->kind : strcmp(x->text, y->text);
}

static int compare_sizes(const void *a, const void *b) {
    const BlemishSizeCount *x = a, *y = b;
    if (x->count != y->count) return x->count < y->count ? 1 : -1;
    if (x->width != y->width) return x->width < y->width ? -1 : 1;
    return (x->height > y->height) - (x->height < y->height);
}

static void finish(Check *c, const Manifest *m) {
    BlemishDataReport *r = &c->report;
    r->validation = m->validation;
    for (int split = 0; split < 2; split++) r->score_only[split] = r->defects[split] - r->masks[split];
    for (size_t i = 0; i < c->problems.count; i++) r->problem_counts[c->problems.items[i].kind]++;
    if (c->problems.count) qsort(c->problems.items, c->problems.count, sizeof *c->problems.items, compare_problems);
    if (r->size_count) qsort(c->sizes, r->size_count, sizeof *c->sizes, compare_sizes);
    r->problem_count = c->problems.count;
    r->problems = c->problems.items;
    r->sizes = c->sizes;
}

static BlemishStatus report(size_t done, size_t total, double start, BlemishProgressFn progress, void *user, Error *e) {
    if (progress == NULL) return BLEMISH_OK;
    const double seconds = now_seconds() - start, rate = seconds > 0 ? (double)done / seconds : 0;
    const BlemishProgress p = {.stage = "check",
                               .done = done,
                               .total = total,
                               .loss = NAN,
                               .items_per_second = rate,
                               .seconds_left = rate > 0 ? (double)(total - done) / rate : -1};
    if (progress(user, &p) == 0) return BLEMISH_OK;
    return error_set(e, BLEMISH_ERROR_INTERRUPTED, "check: stopped after %zu of %zu images", done, total);
}

BlemishStatus manifest_check(Check *c, const Manifest *m, BlemishProgressFn progress, void *user, Error *e) {
    *c = (Check){0};
    MaskReader reader = {0};
    const double start = now_seconds();
    Content *contents = array_new(m->count, sizeof *contents, e);
    BlemishStatus status = contents || m->count == 0 ? BLEMISH_OK : e->status;
    for (size_t i = 0; status == BLEMISH_OK && i < m->problems.count; i++)
        status = problems_add(&c->problems, m->problems.items[i].kind, e, "%s", m->problems.items[i].text);
    for (size_t i = 0; status == BLEMISH_OK && i < m->count; i++) {
        contents[i].sample = i;
        status = check_sample(c, &reader, &m->samples[i], &contents[i], e);
        if (status == BLEMISH_OK) status = report(i + 1, m->count, start, progress, user, e);
    }
    mask_reader_close(&reader);
    if (status == BLEMISH_OK && m->count) status = check_repeats(c, m, contents, e);
    array_free(contents);
    if (status == BLEMISH_OK)
        finish(c, m);
    else
        check_close(c);
    return status;
}

BlemishStatus manifest_resized_masks(const Manifest *m, BlemishSplit split, size_t *count, size_t *first, Error *e) {
    MaskReader reader = {0};
    BlemishStatus status = BLEMISH_OK;
    *count = *first = 0;
    for (size_t i = 0; i < m->count && status == BLEMISH_OK; i++) {
        const Sample *s = &m->samples[i];
        Error unreadable = {0};
        BlemishImage mask = {0};
        size_t width, height;
        if (s->split != split || s->label != BLEMISH_LABEL_DEFECT || s->mask_path == NULL) continue;
        if (image_probe(s->path, &width, &height, &unreadable) == BLEMISH_OK)
            mask_read(&reader, s->mask_path, s->path, &mask, &unreadable);
        if (unreadable.status == BLEMISH_ERROR_MEMORY) status = error_set(e, unreadable.status, "%s", unreadable.text);
        if (mask.data && (reader.width != width || reader.height != height) && (*count)++ == 0) *first = i;
        image_free(&mask);
    }
    mask_reader_close(&reader);
    return status;
}

void check_close(Check *c) {
    problems_close(&c->problems);
    free(c->sizes);
    *c = (Check){0};
}
