#include "train/train_log.h"

#include <locale.h>
#include <stdlib.h>
#include <string.h>

static const char header[] =
    "epoch,loss,l1_good,l1_bad,focal_map,focal_score,gradient_norm,lr_factor,images_per_second,seconds\n";

/* The rows of an older log that a resumed run keeps. A log that is not ours, or none, keeps nothing. */
static void keep_rows(Text *kept, const char *path, size_t first_epoch) {
    char line[512];
    FILE *f = fopen(path, "r");
    if (f == NULL) return;
    if (fgets(line, sizeof line, f) && strcmp(line, header) == 0)
        while (fgets(line, sizeof line, f) && strchr(line, '\n')) {
            char *end;
            const unsigned long long epoch = strtoull(line, &end, 10);
            if (end != line && *end == ',' && epoch <= first_epoch) text_append(kept, line, strlen(line));
        }
    fclose(f);
}

BlemishStatus train_log_open(TrainLog *log, const char *path, size_t first_epoch, Error *e) {
    *log = (TrainLog){.path = path};
    if (path == NULL) return BLEMISH_OK;
    Text text = {0};
    AtomicFile file;
    if (atomic_open(&file, path, e)) return e->status; /* refuses pipes, whose reading would wait */
    text_append(&text, header, strlen(header));
    if (first_epoch) keep_rows(&text, path, first_epoch);
    BlemishStatus status;
    if (text.failed)
        status = error_set(e, BLEMISH_ERROR_MEMORY, "%s: out of memory", path);
    else
        status = atomic_write(&file, text.data, text.length, e);
    if (status == BLEMISH_OK)
        status = atomic_commit(&file, e);
    else
        atomic_abandon(&file);
    text_free(&text);
    if (status != BLEMISH_OK) return status;
    log->file = fopen(path, "a");
    return log->file ? BLEMISH_OK : error_errno(e, "%s: cannot append to the log", path);
}

BlemishStatus train_log_row(TrainLog *log, const EpochFigures *f, Error *e) {
    if (log->file == NULL) return BLEMISH_OK;
    const locale_t c = newlocale(LC_NUMERIC_MASK, "C", (locale_t)0); /* the program's own may use a decimal comma */
    if (c == (locale_t)0) return error_errno(e, "%s: cannot write the log", log->path);
    const locale_t before = uselocale(c);
    const int n = fprintf(log->file, "%zu,%.6f,%.6f,%.6f,%.6f,%.6f,%.4f,%.4g,%.2f,%.2f\n", f->epoch + 1, f->loss,
                          f->l1_good, f->l1_bad, f->focal_map, f->focal_score, f->gradient_norm, f->lr_factor,
                          f->images_per_second, f->seconds);
    uselocale(before);
    freelocale(c);
    if (n < 0 || fflush(log->file) != 0) return error_errno(e, "%s: cannot write the log", log->path);
    return BLEMISH_OK;
}

BlemishStatus train_log_close(TrainLog *log, Error *e) {
    FILE *file = log->file;
    log->file = NULL;
    if (file && fclose(file) != 0) return error_errno(e, "%s: cannot write the log", log->path);
    return BLEMISH_OK;
}
