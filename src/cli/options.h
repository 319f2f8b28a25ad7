/* One table per subcommand from which its parsing, its --help and its man page all come. */
#ifndef BLEMISH_CLI_OPTIONS_H
#define BLEMISH_CLI_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

enum { EXIT_OK = 0, EXIT_FAILED = 1, EXIT_USAGE = 2, EXIT_DEFECT = 3 };

typedef struct ImageSize {
    size_t height, width;
} ImageSize;

enum { OPTION_LIST_MAX = 64 };
typedef struct OptionList {
    const char *items[OPTION_LIST_MAX];
    size_t count;
} OptionList;

/* What an option writes at its offset in the command's struct. */
typedef enum OptionKind {
    OPTION_FLAG,     /* bool */
    OPTION_TEXT,     /* const char *; NULL without a default */
    OPTION_CHOICE,   /* const char *, one of the words of `argument` ("test|train") */
    OPTION_WHOLE,    /* uint64_t, least to most; UINT64_MAX without a default */
    OPTION_FRACTION, /* double in [0, 1]; NaN without a default */
    OPTION_NUMBER,   /* double, finite, 0 or more; NaN without a default */
    OPTION_SIZE,     /* ImageSize, from N or HxW; 0 x 0 without a default */
    OPTION_LIST      /* OptionList; the option may be repeated */
} OptionKind;

typedef struct Option {
    const char *name;     /* without the two dashes */
    const char *argument; /* NULL for a flag */
    const char *initial;  /* the default, read like a value of the command line; NULL: none */
    const char *help;
    OptionKind kind;
    size_t offset;
    bool required;
    uint64_t least, most; /* OPTION_WHOLE */
} Option;

typedef struct Command {
    const char *name, *summary;
    const char *operands; /* "MODEL IMAGE..."; "" where there are none */
    size_t operands_least, operands_most;
    const char *description; /* paragraphs separated by an empty line */
    const char *example;     /* lines */
    const char *exit_status; /* beyond 0, 1 and 2: "3  ..." lines, or NULL */
    const Option *options;
    size_t option_count;
    /* One more list of terms, for what only the library knows; NULL where there is none. Prints through `item`. */
    const char *list_title;
    void (*list)(void (*item)(FILE *out, const char *term, const char *help), FILE *out);
    int (*run)(int argc, char **argv); /* argv[0] is the first word after the command's name; returns the exit code */
} Command;

/* Fills `values`, the command's zeroed struct, with the defaults and then the command line. The operands are moved to
 * the front of argv and counted. Returns -1 to go on, otherwise the exit code: --help was printed, or the usage is
 * wrong and one line said so. */
int options_parse(const Command *command, int argc, char **argv, void *values, size_t *operand_count);

/* The word nearest to `word` in edit distance, NULL when none is near. `next` gives the index-th word, NULL at the
 * end. */
const char *nearest_word(const char *word, const char *(*next)(const void *user, size_t index), const void *user);

/* Print "blemish: ..." as one line on stderr (control characters become '?') and return EXIT_FAILED, EXIT_USAGE. */
int fail(const char *format, ...) __attribute__((format(printf, 1, 2)));
int wrong_usage(const Command *command, const char *format, ...) __attribute__((format(printf, 2, 3)));
void say(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* help.c: the same table as plain text and as a man page (roff). */
void help_command(const Command *command, FILE *out);
void help_program(const Command *const *commands, size_t count, FILE *out);
void man_command(const Command *command, FILE *out);
void man_program(const Command *const *commands, size_t count, FILE *out);

#endif
