/* Tables of a protocol: one row for each category, number of masks, recipe and backbone, mean and standard deviation
 * over the seeds; with several folds a seed's figure is their mean. */
#include "protocol.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct Figure {
    double mean, deviation; /* in [0, 1]; NaN where undefined. The deviation divides by n - 1 */
} Figure;

typedef struct Row {
    const char *category, *masks, *variation, *backbone, *source;
    size_t seeds;
    Figure figures[PROTOCOL_METRICS];
} Row;

/* Whether a run of this seed goes into the row of `of`, whose category is category_count for the mean of all. */
static bool is_part(const Protocol *p, const Run *run, const Run *of, size_t seed) {
    return run->seed == seed && run->masks == of->masks && run->variation == of->variation &&
           run->backbone == of->backbone && (of->category == p->category_count || run->category == of->category);
}

/* Mean of a metric over the folds, and where the row is the mean of all over the categories, of one seed whose runs are
 * all done. */
static double seed_value(const Protocol *p, const Run *of, size_t seed, size_t metric) {
    double sum = 0;
    size_t count = 0;
    for (size_t i = 0; i < p->run_count; i++) {
        if (!is_part(p, &p->runs[i], of, seed)) continue;
        sum += p->runs[i].values[metric];
        count++;
    }
    return sum / (double)count;
}

static bool seed_done(const Protocol *p, const Run *of, size_t seed) {
    for (size_t i = 0; i < p->run_count; i++)
        if (is_part(p, &p->runs[i], of, seed) && !p->runs[i].done) return false;
    return true;
}

/* The row that sums up the runs alike `of` in all but seed and fold. */
static Row make_row(const Protocol *p, const Run *of) {
    Row row = {.category = of->category == p->category_count ? "mean" : protocol_category(p, of->category),
               .masks = p->masks[of->masks].label,
               .variation = p->variations[of->variation].name,
               .backbone = p->backbones[of->backbone],
               .source = "blemish"};
    for (size_t s = 0; s < p->seed_count; s++) row.seeds += seed_done(p, of, s);
    for (size_t m = 0; m < PROTOCOL_METRICS; m++) {
        double sum = 0, square = 0;
        for (size_t s = 0; s < p->seed_count; s++)
            if (seed_done(p, of, s)) sum += seed_value(p, of, s, m);
        const double n = (double)row.seeds, mean = sum / n;
        for (size_t s = 0; s < p->seed_count; s++)
            if (seed_done(p, of, s)) square += pow(seed_value(p, of, s, m) - mean, 2);
        row.figures[m] = (Figure){mean, row.seeds > 1 ? sqrt(square / (n - 1)) : NAN};
    }
    return row;
}

/* ---- the three files ------------------------------------------------------------------------------------- */

typedef struct Tables {
    FILE *markdown, *csv;
    json_t *rows;
} Tables;

static json_t *json_figure(Figure f) {
    return json_pack("{s:o, s:o}", "mean", json_number(f.mean), "std", json_number(f.deviation));
}

static void csv_number(FILE *out, double value) {
    if (isnan(value))
        fputc(',', out);
    else
        fprintf(out, ",%.9g", value);
}

/* A cell's text; what would end the cell or the row is replaced. */
static void markdown_word(FILE *out, const char *word) {
    fputs("| ", out);
    for (; *word; word++) fputc(*word == '|' || (unsigned char)*word < ' ' ? '?' : *word, out);
    fputc(' ', out);
}

static void write_row(const Tables *t, const Row *row) {
    const bool ours = !strcmp(row->source, "blemish");
    json_t *object = json_pack("{s:o, s:s, s:s, s:s, s:s}", "category", json_text(row->category), "masks", row->masks,
                               "recipe", row->variation, "backbone", row->backbone, "source", row->source);
    if (ours) json_object_set_new(object, "seeds", json_integer((json_int_t)row->seeds));
    const char *const words[] = {row->category, row->masks, row->variation, row->backbone, row->source};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) csv_text(t->csv, words[i]), fputc(',', t->csv);
    if (ours) fprintf(t->csv, "%zu", row->seeds);
    markdown_word(t->markdown, row->category);
    markdown_word(t->markdown, row->masks);
    markdown_word(t->markdown, ours ? row->variation : row->source);
    markdown_word(t->markdown, row->backbone);
    if (ours)
        fprintf(t->markdown, "| %zu |", row->seeds);
    else
        fputs("| |", t->markdown);
    for (size_t m = 0; m < PROTOCOL_METRICS; m++) {
        const Figure f = row->figures[m];
        json_object_set_new(object, protocol_metrics[m].key, json_figure(f));
        csv_number(t->csv, f.mean);
        csv_number(t->csv, f.deviation);
        if (isnan(f.mean))
            fputs(" - |", t->markdown);
        else if (isnan(f.deviation))
            fprintf(t->markdown, " %.1f |", 100 * f.mean);
        else
            fprintf(t->markdown, " %.1f ± %.1f |", 100 * f.mean, 100 * f.deviation);
    }
    fputc('\n', t->csv);
    fputc('\n', t->markdown);
    json_array_append_new(t->rows, object);
}

static void write_published(const Tables *t, const Protocol *p, const Row *beside, const char *category) {
    const Published *f;
    for (size_t i = 0; (f = protocol_published(i)); i++) {
        if (strcmp(f->set, p->set) || strcmp(f->category, category) || strcmp(f->masks, beside->masks)) continue;
        Row row = {beside->category, f->masks, beside->variation, PUBLISHED_BACKBONE, f->source, 0, {{0, 0}}};
        for (size_t m = 0; m < PROTOCOL_METRICS; m++) row.figures[m] = (Figure){f->values[m] / 100, NAN};
        write_row(t, &row);
    }
}

static void write_rows(const Tables *t, const Protocol *p) {
    for (size_t v = 0; v < p->variation_count; v++)
        for (size_t k = 0; k < p->mask_count; k++)
            for (size_t c = 0; c <= p->category_count; c++) {
                if (c == p->category_count && c == 1) continue; /* the mean of one is that one */
                Row row;
                for (size_t b = 0; b < p->backbone_count; b++) {
                    row = make_row(p, &(Run){.category = c, .masks = k, .variation = v, .backbone = b});
                    write_row(t, &row);
                }
                const char *name = c == p->category_count ? "mean" : p->categories[c];
                if (v == 0) write_published(t, p, &row, name ? name : "");
            }
}

static void write_headings(const Tables *t, const Protocol *p) {
    size_t done = 0;
    for (size_t i = 0; i < p->run_count; i++) done += p->runs[i].done;
    fprintf(t->markdown, "# Protocol: %s\n\n%zu of %zu runs are done: %zu seed%s, %zu fold%s. ", p->set, done,
            p->run_count, p->seed_count, p->seed_count == 1 ? "" : "s", p->fold_count, p->fold_count == 1 ? "" : "s");
    fputs("Percent on the test split after the last epoch: mean ± standard deviation (n - 1) over the seeds; a seed's "
          "figure is the mean over the folds. Rows called *published* are the papers' figures, not ours.\n\n"
          "| Category | Masks | Recipe | Backbone | Seeds |",
          t->markdown);
    fputs("category,masks,recipe,backbone,source,seeds", t->csv);
    for (size_t m = 0; m < PROTOCOL_METRICS; m++) {
        fprintf(t->markdown, " %s |", protocol_metrics[m].title);
        fprintf(t->csv, ",%s_mean,%s_std", protocol_metrics[m].key, protocol_metrics[m].key);
    }
    fputs("\n|---|---|---|---|---|---|---|---|---|---|\n", t->markdown);
    fputc('\n', t->csv);
}

int protocol_tables(const Protocol *p) {
    char *markdown = NULL, *csv = NULL, *json = NULL, path[PATH_SIZE];
    size_t markdown_length = 0, csv_length = 0;
    Tables t = {open_memstream(&markdown, &markdown_length), open_memstream(&csv, &csv_length), json_array()};
    bool fine = t.markdown && t.csv && t.rows;
    if (fine) {
        write_headings(&t, p);
        write_rows(&t, p);
        json_t *object = json_pack("{s:s, s:I, s:O}", "set", p->set, "runs", (json_int_t)p->run_count, "rows", t.rows);
        json = object ? json_dumps(object, JSON_INDENT(2) | JSON_REAL_PRECISION(17)) : NULL;
        json_decref(object);
    }
    if (t.markdown && fclose(t.markdown)) fine = false;
    if (t.csv && fclose(t.csv)) fine = false;
    json_decref(t.rows);
    int code = fine && json ? EXIT_OK : fail("memory is short");
    const struct {
        const char *name, *text;
        size_t length;
    } files[] = {{"results.md", markdown, markdown_length},
                 {"results.csv", csv, csv_length},
                 {"results.json", json, json ? strlen(json) : 0}};
    for (size_t i = 0; !code && i < sizeof files / sizeof *files; i++) {
        snprintf(path, sizeof path, "%.4000s/%s", p->out, files[i].name);
        if (!file_write(path, files[i].text, files[i].length)) code = EXIT_FAILED;
    }
    free(markdown);
    free(csv);
    free(json);
    return code;
}
