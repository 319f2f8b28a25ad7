#include "options.h"

#include <errno.h>
#include <float.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

static void print_line(const char *format, va_list arguments) {
    char line[2048];
    vsnprintf(line, sizeof line, format, arguments);
    for (char *c = line; *c; c++) {
        if ((unsigned char)*c < 0x20 || *c == 0x7f) *c = '?'; // a hostile file name cannot forge a line
    }
    fprintf(stderr, "blemish: %s\n", line);
}

int fail(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    print_line(format, arguments);
    va_end(arguments);
    return EXIT_FAILED;
}

void say(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    print_line(format, arguments);
    va_end(arguments);
}

int wrong_usage(const Command *command, const char *format, ...) {
    char text[1024];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    say("%s: %s; see 'blemish %s --help'", command->name, text, command->name);
    return EXIT_USAGE;
}

/* ---- nearest word ---------------------------------------------------------------------------------------- */

enum { WORD_MAX = 32 };

/* Levenshtein distance by one row of the usual table; SIZE_MAX for words too long to be a slip of the fingers. */
static size_t edit_distance(const char *a, const char *b) {
    size_t row[WORD_MAX + 1], length = strlen(b);
    if (length > WORD_MAX || strlen(a) > WORD_MAX) return SIZE_MAX;
    for (size_t j = 0; j <= length; j++) row[j] = j;
    for (size_t i = 1; a[i - 1]; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= length; j++) {
            size_t change = diagonal + (a[i - 1] != b[j - 1]);
            diagonal = row[j];
            size_t gap = (row[j] < row[j - 1] ? row[j] : row[j - 1]) + 1;
            row[j] = change < gap ? change : gap;
        }
    }
    return row[length];
}

const char *nearest_word(const char *word, const char *(*next)(const void *user, size_t index), const void *user) {
    const char *best = NULL, *candidate;
    size_t least = strlen(word) / 3 + 2; // "bacth" finds "batch", "xyz" finds nothing
    for (size_t i = 0; (candidate = next(user, i)); i++) {
        size_t distance = edit_distance(word, candidate);
        if (distance < least && distance < strlen(candidate)) least = distance, best = candidate;
    }
    return best;
}

static const char *option_name(const void *user, size_t index) {
    const Command *command = user;
    return index < command->option_count ? command->options[index].name : NULL;
}

/* ---- values ---------------------------------------------------------------------------------------------- */

/* Decimal digits only: strtoull alone would take "-1" and " 1". */
static bool parse_whole(const char *text, uint64_t least, uint64_t most, uint64_t *out) {
    char *end;
    if (*text < '0' || *text > '9') return false;
    errno = 0;
    unsigned long long value = strtoull(text, &end, 10);
    if (errno || *end || value < least || value > most) return false;
    *out = value;
    return true;
}

static bool parse_size(const char *text, ImageSize *out) {
    char first[16];
    const char *cross = strchr(text, 'x');
    size_t length = cross ? (size_t)(cross - text) : strlen(text);
    uint64_t height, width;
    if (length >= sizeof first) return false;
    memcpy(first, text, length);
    first[length] = 0;
    if (!parse_whole(first, 1, 65536, &height)) return false;
    if (!parse_whole(cross ? cross + 1 : first, 1, 65536, &width)) return false;
    *out = (ImageSize){(size_t)height, (size_t)width};
    return true;
}

static bool parse_number(const char *text, double most, double *out) {
    char *end;
    if ((*text < '0' || *text > '9') && *text != '.') return false; // no "nan", no "inf"
    double value = strtod(text, &end);
    if (*end || !(value >= 0 && value <= most)) return false;
    *out = value;
    return true;
}

static bool is_choice(const char *choices, const char *text) {
    size_t length = strlen(text);
    for (const char *word = choices;; word += strcspn(word, "|") + 1) {
        size_t n = strcspn(word, "|");
        if (n == length && !memcmp(word, text, n)) return true;
        if (!word[n]) return false;
    }
}

/* Stores text at target; returns NULL, or what was expected. */
static const char *store_value(const Option *option, const char *text, void *target, char expected[64]) {
    switch (option->kind) {
    case OPTION_FLAG:
        *(bool *)target = true;
        return NULL;
    case OPTION_TEXT:
        *(const char **)target = text;
        return NULL;
    case OPTION_CHOICE:
        *(const char **)target = text;
        return is_choice(option->argument, text) ? NULL : option->argument;
    case OPTION_WHOLE:
        if (parse_whole(text, option->least, option->most, target)) return NULL;
        snprintf(expected, 64, "a whole number from %llu to %llu", (unsigned long long)option->least,
                 (unsigned long long)option->most);
        return expected;
    case OPTION_FRACTION:
        return parse_number(text, 1, target) ? NULL : "a number from 0 to 1";
    case OPTION_NUMBER:
        return parse_number(text, DBL_MAX, target) ? NULL : "a number of 0 or more";
    case OPTION_SIZE:
        return parse_size(text, target) ? NULL : "a size N or HEIGHTxWIDTH in pixels";
    case OPTION_LIST:
        break;
    }
    OptionList *list = target;
    if (list->count == OPTION_LIST_MAX) return "fewer of them";
    list->items[list->count++] = text;
    return NULL;
}

static void store_defaults(const Command *command, void *values) {
    char expected[64];
    for (size_t i = 0; i < command->option_count; i++) {
        const Option *option = &command->options[i];
        void *target = (char *)values + option->offset;
        if (option->initial) {
            store_value(option, option->initial, target, expected);
        } else if (option->kind == OPTION_FRACTION || option->kind == OPTION_NUMBER) {
            *(double *)target = NAN;
        } else if (option->kind == OPTION_WHOLE) {
            *(uint64_t *)target = UINT64_MAX;
        }
    }
}

/* ---- the command line ------------------------------------------------------------------------------------ */

static const Option *find_option(const Command *command, const char *name, size_t length) {
    for (size_t i = 0; i < command->option_count; i++) {
        const Option *option = &command->options[i];
        if (strlen(option->name) == length && !memcmp(option->name, name, length)) return option;
    }
    return NULL;
}

static int unknown_option(const Command *command, const char *word, size_t length) {
    char name[WORD_MAX + 1];
    const char *nearest = NULL;
    if (length > 2 && length - 2 < sizeof name) {
        memcpy(name, word + 2, length - 2);
        name[length - 2] = 0;
        nearest = nearest_word(name, option_name, command);
    }
    if (nearest) return wrong_usage(command, "%.*s: unknown option, did you mean --%s?", (int)length, word, nearest);
    return wrong_usage(command, "%.*s: unknown option", (int)(length < 64 ? length : 64), word);
}

static int check_given(const Command *command, const bool *given, char **operands, size_t count) {
    for (size_t i = 0; i < command->option_count; i++) {
        const Option *option = &command->options[i];
        if (option->required && !given[i])
            return wrong_usage(command, "--%s %s is required", option->name, option->argument);
    }
    if (count < command->operands_least) {
        return wrong_usage(command, "found %zu operand%s, expected %s", count, count == 1 ? "" : "s",
                           command->operands);
    }
    if (count > command->operands_most) {
        return wrong_usage(command, "%s: one operand too many", operands[command->operands_most]);
    }
    return -1;
}

int options_parse(const Command *command, int argc, char **argv, void *values, size_t *operand_count) {
    bool given[64] = {false}, options_end = false;
    size_t count = 0;
    store_defaults(command, values);
    for (int i = 0; i < argc; i++) {
        char *word = argv[i];
        if (options_end || word[0] != '-' || !word[1]) {
            argv[count++] = word;
            continue;
        }
        if (!strcmp(word, "--")) {
            options_end = true;
            continue;
        }
        if (!strcmp(word, "--help") || !strcmp(word, "-h")) {
            help_command(command, stdout);
            return EXIT_OK;
        }
        size_t length = strcspn(word, "=");
        const Option *option = !strncmp(word, "--", 2) ? find_option(command, word + 2, length - 2) : NULL;
        if (!option) return unknown_option(command, word, length);
        const char *value = word[length] ? word + length + 1 : NULL;
        if (option->kind == OPTION_FLAG && value) return wrong_usage(command, "--%s takes no value", option->name);
        if (option->kind != OPTION_FLAG && !value) {
            if (i + 1 == argc) return wrong_usage(command, "--%s needs a value: %s", option->name, option->argument);
            value = argv[++i];
        }
        char expected[64];
        const char *problem = store_value(option, value, (char *)values + option->offset, expected);
        if (problem) return wrong_usage(command, "--%s: found '%s', expected %s", option->name, value, problem);
        given[option - command->options] = true;
    }
    *operand_count = count;
    return check_given(command, given, argv, count);
}
