#include "base/base.h"

#include <string.h>

void profile_start(Profile *p) {
    if (p == NULL) return;
    p->since = (BlemishStage){0};
    p->mark = now_seconds();
}

void profile_work(Profile *p, double gmac, double gb, BlemishPrecision precision) {
    if (p == NULL) return;
    p->since.gmac += gmac;
    p->since.gb += gb;
    if (precision != BLEMISH_PRECISION_AUTO) p->since.precision = precision;
}

/* The stage of that name, new where there is none; NULL when there is no room. */
static BlemishStage *find(Profile *p, const char *name) {
    for (size_t i = 0; i < p->count; i++)
        if (strcmp(p->stages[i].name, name) == 0) return &p->stages[i];
    if (p->count == PROFILE_STAGES) return NULL;
    BlemishStage *stage = &p->stages[p->count++];
    *stage = (BlemishStage){.name = name};
    return stage;
}

void profile_lap(Profile *p, const char *name) {
    if (p == NULL) return;
    const double now = now_seconds();
    BlemishStage *stage = find(p, name);
    if (stage) {
        stage->turns++;
        stage->seconds += now - p->mark;
        stage->gmac += p->since.gmac;
        stage->gb += p->since.gb;
        if (p->since.precision != BLEMISH_PRECISION_AUTO) stage->precision = p->since.precision;
    }
    p->since = (BlemishStage){0};
    p->mark = now;
}
