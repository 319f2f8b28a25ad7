#include "report.h"

#include <errno.h>
#include <libgen.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int report_open(Report *r, const ReportSettings *settings, const BlemishModelInfo *info) {
    struct stat status;
    char parent[PATH_SIZE];
    *r = (Report){.settings = *settings, .info = *info};
    if (!pictures_open(&r->pictures, settings->images)) return fail("memory is short");
    const char *folder = settings->folder;
    if (strlen(folder) > PATH_SIZE / 2) return fail("%s: the name is too long", folder);
    if (!stat(folder, &status)) {
        if (!S_ISDIR(status.st_mode)) return fail("%s: found a file, expected a folder or nothing", folder);
        return access(folder, W_OK | X_OK) ? fail("%s: %s", folder, strerror(errno)) : EXIT_OK;
    }
    if (errno != ENOENT) return fail("%s: %s", folder, strerror(errno));
    snprintf(parent, sizeof parent, "%s", folder);
    return access(dirname(parent), W_OK | X_OK) ? fail("%s: cannot make it: %s", folder, strerror(errno)) : EXIT_OK;
}

static double part_found(const BlemishEvaluated *v, float threshold) {
    if (!v->mask) return NAN;
    size_t marked = 0, found = 0;
    for (size_t i = 0; i < v->result.map_height * v->result.map_width; i++) {
        marked += v->mask[i];
        found += v->mask[i] && v->result.map[i] >= threshold;
    }
    return (double)found / (double)marked;
}

static bool reserve(Report *r) {
    if (r->count < r->capacity) return true;
    size_t capacity = r->capacity ? 2 * r->capacity : 256;
    ReportRow *rows = reallocarray(r->rows, capacity, sizeof *rows);
    if (!rows) return false;
    r->rows = rows;
    r->capacity = capacity;
    return true;
}

bool report_add(Report *r, const BlemishEvaluated *v) {
    if (!reserve(r)) return fail("memory is short"), false;
    ReportRow *row = &r->rows[r->count++];
    *row = (ReportRow){.path = strdup(v->sample.path),
                       .type = strdup(v->sample.type),
                       .label = v->sample.label,
                       .score = v->result.score,
                       .map_max = v->result.map_max,
                       .defect = v->result.defect,
                       .width = v->result.image_width,
                       .height = v->result.image_height,
                       .area = v->defect_area,
                       .part_found = part_found(v, r->info.pixel_threshold),
                       .picture = SIZE_MAX};
    if (!row->path || !row->type) return fail("memory is short"), false;
    return pictures_add(&r->pictures, v, r->count - 1);
}

/* ---- three files, all or none -------------------------------------------------------------------------------- */

/* In the order in which they appear: the page, which people look at, last. */
enum { CSV, JSON, PAGE, FILES };
static const char *const names[FILES] = {"predictions.csv", "report.json", "report.html"};

static bool write_one(int which, FILE *out, const Report *r, const json_t *data) {
    if (which == PAGE) return report_page(out, r, data);
    if (which == CSV) return report_csv(out, r);
    return json_write_pretty(out, data);
}

/* On failure the reason is in errno, and no temporary file is left. */
static bool write_temporary(const char *path, int which, const Report *r, const json_t *data) {
    errno = 0;
    FILE *out = fopen(path, "we");
    if (!out) return false;
    bool written = write_one(which, out, r, data) && !fflush(out) && !ferror(out) && !fsync(fileno(out));
    int problem = errno;
    if (fclose(out) && written) written = false, problem = errno;
    if (!written) unlink(path);
    errno = problem ? problem : written ? 0 : ENOMEM; // jansson sets none
    return written;
}

static int write_files(const Report *r, const json_t *data) {
    char paths[FILES][PATH_SIZE], temporary[FILES][PATH_SIZE];
    const char *folder = r->settings.folder;
    const bool made = !mkdir(folder, 0777);
    if (!made && errno != EEXIST) return fail("%s: %s", folder, strerror(errno));
    int count = 0;
    for (; count < FILES; count++) {
        snprintf(paths[count], PATH_SIZE, "%.2100s/%s", folder, names[count]);
        snprintf(temporary[count], PATH_SIZE, "%.2100s/.%s.new", folder, names[count]);
        if (!write_temporary(temporary[count], count, r, data)) {
            fail("%s: %s", paths[count], strerror(errno));
            break;
        }
    }
    bool whole = count == FILES;
    for (int i = 0; i < FILES && whole; i++) { // before any is renamed: what a rename would be refused for
        struct stat status;
        whole = stat(paths[i], &status) || !S_ISDIR(status.st_mode);
        if (!whole) fail("%s: found a folder, expected a file or nothing", paths[i]);
    }
    for (int i = 0; i < FILES && whole; i++) {
        whole = !rename(temporary[i], paths[i]);
        if (!whole) fail("%s: %s", paths[i], strerror(errno));
    }
    if (whole) return EXIT_OK;
    for (int i = 0; i < count; i++) unlink(temporary[i]);
    if (made) rmdir(folder);
    return EXIT_FAILED;
}

int report_write(Report *r, const BlemishMetrics *metrics, const BlemishIntervals *intervals,
                 const BlemishSession *session, BlemishDataset *dataset) {
    pictures_settle(&r->pictures);
    for (size_t i = 0; i < r->pictures.count[0]; i++) r->rows[r->pictures.kept[0][i].row].picture = i;
    json_t *data = report_json(r, metrics, intervals, session, dataset);
    int code = data ? write_files(r, data) : EXIT_FAILED; // what failed was printed
    json_decref(data);
    return code;
}

void report_close(Report *r) {
    for (size_t i = 0; i < r->count; i++) free(r->rows[i].path), free(r->rows[i].type);
    free(r->rows);
    pictures_close(&r->pictures);
}
