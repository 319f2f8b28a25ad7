#include "report.h"

#include <stdlib.h>
#include <string.h>

enum { SIDE = 400 }; /* pixels: enough to judge by, a few ten KiB an image */

static void forget(KeptPictures *k) {
    for (int i = 0; i < BLEMISH_PICTURES; i++) blemish_bytes_free(k->bytes[i]);
    *k = (KeptPictures){0};
}

bool pictures_open(Pictures *p, size_t most) {
    *p = (Pictures){.most = most};
    for (int label = 0; label < 2 && most; label++) {
        p->kept[label] = calloc(label ? most : 2 * most, sizeof **p->kept); // the first will hold both
        if (!p->kept[label]) return false;
    }
    return true;
}

/* Whether a is harder to judge rightly than b. */
static bool harder(int label, const KeptPictures *a, const KeptPictures *b) {
    if (a->score == b->score) return a->row < b->row;
    return label == BLEMISH_LABEL_DEFECT ? a->score < b->score : a->score > b->score;
}

bool pictures_add(Pictures *p, const BlemishEvaluated *v, size_t row) {
    const int label = v->sample.label;
    if (label == BLEMISH_LABEL_UNKNOWN || p->most == 0) return true;
    KeptPictures new = {.row = row, .score = v->result.score}, *place = &p->kept[label][p->count[label]];
    if (p->count[label] == p->most) { // in place of the easiest, or not at all
        place = p->kept[label];
        for (size_t i = 1; i < p->most; i++) {
            if (harder(label, place, &p->kept[label][i])) place = &p->kept[label][i];
        }
        if (!harder(label, &new, place)) return true;
        forget(place);
    } else {
        p->count[label]++;
    }
    *place = new;
    char error[BLEMISH_ERROR_SIZE];
    for (int kind = 0; kind < BLEMISH_PICTURES; kind++) {
        if (blemish_picture(v, (BlemishPictureKind)kind, SIDE, &place->bytes[kind], &place->sizes[kind], error)) {
            fail("%s: %s", v->sample.path, error);
            return false;
        }
    }
    return true;
}

static int compare_good(const void *a, const void *b) {
    return harder(BLEMISH_LABEL_GOOD, a, b) ? -1 : 1;
}

static int compare_defects(const void *a, const void *b) {
    return harder(BLEMISH_LABEL_DEFECT, a, b) ? -1 : 1;
}

void pictures_settle(Pictures *p) {
    size_t half = p->most / 2, good = p->count[0], defects = p->count[1];
    if (p->most == 0) return;
    if (good + defects > p->most) {
        if (defects < p->most - half) {
            good = p->most - defects;
        } else {
            if (good > half) good = half;
            defects = p->most - good;
        }
    }
    qsort(p->kept[0], p->count[0], sizeof **p->kept, compare_good);
    qsort(p->kept[1], p->count[1], sizeof **p->kept, compare_defects);
    for (size_t i = good; i < p->count[0]; i++) forget(&p->kept[0][i]);
    for (size_t i = defects; i < p->count[1]; i++) forget(&p->kept[1][i]);
    memmove(p->kept[0] + defects, p->kept[0], good * sizeof **p->kept);
    memcpy(p->kept[0], p->kept[1], defects * sizeof **p->kept);
    p->count[0] = good + defects;
    p->count[1] = 0;
}

void pictures_close(Pictures *p) {
    for (int label = 0; label < 2; label++) {
        for (size_t i = 0; i < p->count[label]; i++) forget(&p->kept[label][i]);
        free(p->kept[label]);
    }
    *p = (Pictures){0};
}
