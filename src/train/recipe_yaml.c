/* A recipe file is YAML of two levels: sections, and in each KEY: VALUE. */
#include "train/train.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <yaml.h>

enum { FILE_MAX = 1 << 16, NAME_SIZE = 128, KEYS_MAX = 64, SECTIONS_MAX = 16 };

typedef struct Loader {
    yaml_parser_t parser;
    yaml_event_t event; /* the one last read */
    const char *path;
    Recipe recipe;
    char sections[SECTIONS_MAX][NAME_SIZE]; /* seen so far */
    size_t section_count;
    bool seen[KEYS_MAX], size_seen;
    Error *e;
} Loader;

static size_t line_of(const Loader *l) {
    return l->event.start_mark.line + 1;
}

/* Reads the next event; refuses what no recipe needs. */
static BlemishStatus next(Loader *l) {
    yaml_event_delete(&l->event);
    if (!yaml_parser_parse(&l->parser, &l->event)) {
        const yaml_parser_t *p = &l->parser;
        const size_t line = p->error == YAML_READER_ERROR ? p->mark.line : p->problem_mark.line;
        return error_set(l->e, p->error == YAML_MEMORY_ERROR ? BLEMISH_ERROR_MEMORY : BLEMISH_ERROR_FORMAT,
                         "%s:%zu: not YAML: %s", l->path, line + 1, p->problem ? p->problem : "out of memory");
    }
    const yaml_event_t *v = &l->event;
    const bool scalar = v->type == YAML_SCALAR_EVENT, mapping = v->type == YAML_MAPPING_START_EVENT;
    const char *found = NULL;
    if (v->type == YAML_ALIAS_EVENT || (scalar && v->data.scalar.anchor) || (mapping && v->data.mapping_start.anchor))
        found = "an anchor or alias (& or *)";
    else if ((scalar && v->data.scalar.tag) || (mapping && v->data.mapping_start.tag))
        found = "a tag (!)";
    else if (v->type == YAML_SEQUENCE_START_EVENT)
        found = "a list";
    else if (scalar && (v->data.scalar.length >= NAME_SIZE / 2 ||
                        strlen((const char *)v->data.scalar.value) != v->data.scalar.length))
        found = "a word too long, or with a null byte";
    if (found == NULL) return BLEMISH_OK;
    return error_set(l->e, BLEMISH_ERROR_FORMAT, "%s:%zu: found %s, expected sections of KEY: VALUE", l->path,
                     line_of(l), found);
}

static const char *word(const Loader *l) {
    return (const char *)l->event.data.scalar.value;
}

static BlemishStatus expect(const Loader *l, yaml_event_type_t type, const char *what, const char *expected) {
    if (l->event.type == type) return BLEMISH_OK;
    return error_set(l->e, BLEMISH_ERROR_FORMAT, "%s:%zu: %sexpected %s", l->path, line_of(l), what, expected);
}

/* Sets section.key from the value that the next event holds. */
static BlemishStatus load_key(Loader *l, const char *section) {
    char name[2 * NAME_SIZE], what[3 * NAME_SIZE];
    snprintf(name, sizeof name, "%s.%s", section, word(l));
    const size_t line = line_of(l), at = recipe_find(name);
    bool *seen = at < KEYS_MAX ? &l->seen[at] : strcmp(name, "model.size") == 0 ? &l->size_seen : NULL;
    if (seen && *seen)
        return error_set(l->e, BLEMISH_ERROR_FORMAT, "%s:%zu: %s: found a second time, expected once", l->path, line,
                         name);
    if (seen) *seen = true;
    snprintf(what, sizeof what, "%s: found a section inside a section, ", name);
    if (next(l) || expect(l, YAML_SCALAR_EVENT, what, "a value")) return l->e->status;
    Error refused = {0};
    if (recipe_set(&l->recipe, name, word(l), &refused) == BLEMISH_OK) return BLEMISH_OK;
    const char *text = refused.text, *prefix = "recipe: ";
    if (strncmp(text, prefix, strlen(prefix)) == 0) text += strlen(prefix);
    return error_set(l->e, refused.status, "%s:%zu: %s", l->path, line, text);
}

static BlemishStatus load_section(Loader *l) {
    char section[NAME_SIZE], what[NAME_SIZE + 64];
    snprintf(section, sizeof section, "%s", word(l));
    for (size_t i = 0; i < l->section_count; i++)
        if (strcmp(section, l->sections[i]) == 0)
            return error_set(l->e, BLEMISH_ERROR_FORMAT, "%s:%zu: %s: found a second time, expected once", l->path,
                             line_of(l), section);
    if (l->section_count < SECTIONS_MAX) memcpy(l->sections[l->section_count++], section, sizeof section);
    snprintf(what, sizeof what, "%s: found outside a section, ", section);
    if (next(l) || expect(l, YAML_MAPPING_START_EVENT, what, "a section such as train: with KEY: VALUE in it"))
        return l->e->status;
    while (next(l) == BLEMISH_OK && l->event.type != YAML_MAPPING_END_EVENT)
        if (expect(l, YAML_SCALAR_EVENT, "found no name, ", "KEY: VALUE") || load_key(l, section)) break;
    return l->e->status;
}

static BlemishStatus load_stream(Loader *l) {
    const char *sections = "sections of KEY: VALUE";
    if (next(l) || next(l) || expect(l, YAML_DOCUMENT_START_EVENT, "found nothing, ", sections) || next(l) ||
        expect(l, YAML_MAPPING_START_EVENT, "found a single value, ", sections))
        return l->e->status;
    while (next(l) == BLEMISH_OK && l->event.type != YAML_MAPPING_END_EVENT)
        if (expect(l, YAML_SCALAR_EVENT, "found no name, ", "a section") || load_section(l)) break;
    if (l->e->status || next(l) || next(l)) return l->e->status;
    return expect(l, YAML_STREAM_END_EVENT, "found a second document, ", "one");
}

static BlemishStatus read_file(const char *path, char *bytes, size_t *length, Error *e) {
    FILE *file = fopen(path, "re");
    if (file == NULL) return error_errno(e, "%s", path);
    *length = fread(bytes, 1, FILE_MAX + 1, file);
    if (ferror(file))
        error_errno(e, "%s", path);
    else if (*length > FILE_MAX)
        error_set(e, BLEMISH_ERROR_FORMAT, "%s: found more than %d bytes, expected a recipe", path, FILE_MAX);
    fclose(file);
    return e->status;
}

BlemishStatus recipe_parse(Recipe *recipe, const char *name, const char *text, size_t length, Error *e) {
    e->status = BLEMISH_OK;
    Loader *l = array_new(1, sizeof *l, e);
    if (l == NULL) return e->status;
    l->path = name;
    l->recipe = *recipe;
    l->e = e;
    if (yaml_parser_initialize(&l->parser)) {
        yaml_parser_set_input_string(&l->parser, (const unsigned char *)text, length);
        if (load_stream(l) == BLEMISH_OK) *recipe = l->recipe;
        yaml_event_delete(&l->event);
        yaml_parser_delete(&l->parser);
    } else {
        error_set(e, BLEMISH_ERROR_MEMORY, "%s: out of memory", name);
    }
    array_free(l);
    return e->status;
}

BlemishStatus recipe_load(Recipe *recipe, const char *path, Error *e) {
    e->status = BLEMISH_OK;
    size_t length = 0;
    char *bytes = array_new(FILE_MAX + 1, 1, e);
    if (bytes && read_file(path, bytes, &length, e) == BLEMISH_OK) recipe_parse(recipe, path, bytes, length, e);
    array_free(bytes);
    return e->status;
}
