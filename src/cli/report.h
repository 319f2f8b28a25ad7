/* blemish eval --report: what is gathered while the images pass, and the three files made from it. docs/report.md
 * documents report.json, which holds all that the page shows but the pictures. */
#ifndef BLEMISH_CLI_REPORT_H
#define BLEMISH_CLI_REPORT_H

#include "cli.h"

typedef struct ReportRow {
    char *path, *type;
    BlemishLabel label;
    float score, map_max;
    int defect;
    size_t width, height; /* of the image, pixels */
    double area;          /* part of the image that is marked; NaN without a mask */
    double part_found;    /* of the marked pixels, how many are at or above the pixel threshold; NaN without a mask */
    size_t picture;       /* its place among the pictures; SIZE_MAX without */
} ReportRow;

/* ---- report_pictures.c: of each label the images that were hardest to judge rightly -------------------------- */

typedef struct KeptPictures {
    size_t row;
    float score;
    uint8_t *bytes[BLEMISH_PICTURES]; /* NULL where there is none */
    size_t sizes[BLEMISH_PICTURES];
} KeptPictures;

/* The hardest are the same at every threshold: defects of the lowest scores, good images of the highest. Only those
 * that may still be shown are encoded and held, 2 * most at the worst. */
typedef struct Pictures {
    KeptPictures *kept[2]; /* by label; after pictures_settle kept[0] alone, the worst first */
    size_t count[2], most;
} Pictures;
bool pictures_open(Pictures *pictures, size_t most);
/* False when it failed; the reason was printed. */
bool pictures_add(Pictures *pictures, const BlemishEvaluated *evaluated, size_t row);
/* Leaves `most` of them, half of each label where there are enough. */
void pictures_settle(Pictures *pictures);
void pictures_close(Pictures *pictures);

/* ---- report.c ------------------------------------------------------------------------------------------------ */

typedef struct ReportSettings {
    const char *folder, *model_path, *split;
    const DataOptions *data;
    size_t images;                        /* most in the page's gallery */
    double cost_escape, cost_false_alarm; /* NaN where not given */
} ReportSettings;

typedef struct Report {
    ReportSettings settings;
    BlemishModelInfo info;
    ReportRow *rows;
    size_t count, capacity;
    Pictures pictures;
} Report;

/* Refuses at once a folder that could not be written. Returns an exit code; report_close in either case. */
int report_open(Report *report, const ReportSettings *settings, const BlemishModelInfo *info);
/* False when it failed; the reason was printed. */
bool report_add(Report *report, const BlemishEvaluated *evaluated);
/* All three files or none. The session is the one that evaluated. Returns an exit code. */
int report_write(Report *report, const BlemishMetrics *metrics, const BlemishIntervals *intervals,
                 const BlemishSession *session, BlemishDataset *dataset);
void report_close(Report *report);

/* ---- report_json.c, report_groups.c, report_page.c ---------------------------------------------------------- */

#define REPORT_CONFIDENCE 0.95

/* New references; NULL when memory is short. */
json_t *report_json(const Report *report, const BlemishMetrics *metrics, const BlemishIntervals *intervals,
                    const BlemishSession *session, BlemishDataset *dataset);
/* {"value", "low", "high"} of a rate with its exact interval (Clopper and Pearson); value null where `of` is 0. */
json_t *report_rate(size_t hits, size_t of);
json_t *report_by_type(const Report *report);
json_t *report_by_size(const Report *report);
/* What nobody should overlook, as texts. */
json_t *report_warnings(const Report *report, const BlemishMetrics *metrics);

bool report_page(FILE *out, const Report *report, const json_t *data);
bool report_csv(FILE *out, const Report *report);

#endif
