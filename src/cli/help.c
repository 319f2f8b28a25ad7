/* --help and man pages, both written from the tables of the commands. */
#include "blemish/blemish.h"
#include "options.h"

#include <ctype.h>
#include <string.h>

enum { HELP_WIDTH = 80, HELP_COLUMN = 26 };

static const char usual_status[] = "0  everything was done\n"
                                   "1  something failed; one line on standard error says what\n"
                                   "2  the command line is wrong\n";

/* ---- plain text ------------------------------------------------------------------------------------------ */

/* Prints text broken at spaces, from column `column` on and indented to `indent`. Paragraphs stay apart. */
static void print_wrapped(FILE *out, const char *text, size_t column, size_t indent) {
    while (*text) {
        size_t length = strcspn(text, " \n");
        if (column > indent && column + 1 + length > HELP_WIDTH) {
            fputc('\n', out);
            column = 0;
        }
        if (column < indent) {
            fprintf(out, "%*s", (int)(indent - column), "");
            column = indent;
        } else if (column > indent) {
            fputc(' ', out);
            column++;
        }
        fprintf(out, "%.*s", (int)length, text);
        column += length;
        text += length;
        if (!strncmp(text, "\n\n", 2)) {
            fputs("\n\n", out);
            column = 0;
        }
        text += strspn(text, " \n");
    }
    fputc('\n', out);
}

static void print_item(FILE *out, const char *term, const char *help) {
    int width = fprintf(out, "  %s", term);
    if (width > HELP_COLUMN - 2) {
        fputc('\n', out);
        width = 0;
    }
    print_wrapped(out, help, (size_t)width, HELP_COLUMN);
}

static void option_term(const Option *option, char term[96]) {
    snprintf(term, 96, "--%s%s%s", option->name, option->argument ? " " : "", option->argument ? option->argument : "");
}

static void option_help(const Option *option, char help[1024]) {
    if (option->initial) {
        snprintf(help, 1024, "%s (default: %s)", option->help, option->initial);
    } else {
        snprintf(help, 1024, "%s%s", option->help, option->required ? " (required)" : "");
    }
}

static void synopsis(const Command *command, FILE *out) {
    fprintf(out, "blemish %s", command->name);
    for (size_t i = 0; i < command->option_count; i++) {
        const Option *option = &command->options[i];
        if (option->required) fprintf(out, " --%s %s", option->name, option->argument);
    }
    fprintf(out, " [OPTION]...%s%s\n", *command->operands ? " " : "", command->operands);
}

/* Prints each line of text behind `prefix`. */
static void print_lines(FILE *out, const char *prefix, const char *text) {
    while (*text) {
        size_t length = strcspn(text, "\n");
        fprintf(out, "%s%.*s\n", prefix, (int)length, text);
        text += length + (text[length] == '\n');
    }
}

void help_command(const Command *command, FILE *out) {
    fputs("Usage: ", out);
    synopsis(command, out);
    fprintf(out, "%c%s.\n\n", toupper(command->summary[0]), command->summary + 1);
    print_wrapped(out, command->description, 0, 0);
    fputs("\nOptions:\n", out);
    for (size_t i = 0; i < command->option_count; i++) {
        char term[96], help[1024];
        option_term(&command->options[i], term);
        option_help(&command->options[i], help);
        print_item(out, term, help);
    }
    print_item(out, "--help", "print this text");
    if (command->list) {
        fprintf(out, "\n%s:\n", command->list_title);
        command->list(print_item, out);
    }
    fputs("\nExample:\n", out);
    print_lines(out, "  ", command->example);
    fputs("\nExit status:\n", out);
    print_lines(out, "  ", usual_status);
    if (command->exit_status) print_lines(out, "  ", command->exit_status);
}

static const char program_summary[] = "find surface defects in images";
static const char program_description[] =
    "Trains a detector of surface defects from images of good and, where there are some, of defective parts, judges "
    "it, "
    "and runs it: every image gets a score, a verdict and a map of where the defect is.\n\n"
    "The method is SuperSimpleNet (Rolih, Fucka and Skocaj, arXiv 2508.19060).";
static const char program_example[] = "blemish synth parts\n"
                                      "blemish train --data parts --out parts.blemish\n"
                                      "blemish eval parts.blemish --data parts --gallery parts.png\n"
                                      "blemish predict parts.blemish photo.jpg --overlays seen";

void help_program(const Command *const *commands, size_t count, FILE *out) {
    fprintf(out, "Usage: blemish COMMAND [ARGUMENT]...\n%c%s.\n\n", toupper(program_summary[0]), program_summary + 1);
    print_wrapped(out, program_description, 0, 0);
    fputs("\nCommands:\n", out);
    for (size_t i = 0; i < count; i++) print_item(out, commands[i]->name, commands[i]->summary);
    fputs("\nOptions:\n", out);
    print_item(out, "--help", "print this text; 'blemish COMMAND --help' explains a command");
    print_item(out, "--version", "print the version");
    fputs("\nExample:\n", out);
    print_lines(out, "  ", program_example);
    fputs("\nExit status:\n", out);
    print_lines(out, "  ", usual_status);
}

/* ---- man pages ------------------------------------------------------------------------------------------- */

/* Writes text so that roff reads it as it stands: dashes stay dashes and no line becomes a request. */
static void roff(FILE *out, const char *text) {
    bool line_start = true;
    for (; *text; text++) {
        if (!strncmp(text, "\n\n", 2)) {
            fputs("\n.PP\n", out);
            text++;
            line_start = true;
            continue;
        }
        if (line_start && (*text == '.' || *text == '\'')) fputs("\\&", out);
        line_start = *text == '\n';
        switch (*text) {
        case '\\':
            fputs("\\e", out);
            break;
        case '-':
            fputs("\\-", out);
            break;
        case '\'':
            fputs("\\(aq", out);
            break;
        case '"':
            fputs("\\(dq", out);
            break;
        case '^':
            fputs("\\(ha", out);
            break;
        case '~':
            fputs("\\(ti", out);
            break;
        case '`':
            fputs("\\(ga", out);
            break;
        default:
            fputc(*text, out);
        }
    }
    fputc('\n', out);
}

static void man_item(FILE *out, const char *term, const char *help) {
    fputs(".TP\n.B ", out);
    roff(out, term);
    roff(out, help);
}

static void man_start(FILE *out, const char *title, const char *name, const char *summary) {
    fprintf(out, ".TH %s 1 \"\" \"blemish %s\" \"User Commands\"\n.SH NAME\n%s \\- ", title, blemish_version(), name);
    roff(out, summary);
    fputs(".SH SYNOPSIS\n", out);
}

static void man_example(FILE *out, const char *example) {
    fputs(".SH EXAMPLE\n.EX\n", out);
    roff(out, example);
    fputs(".EE\n", out);
}

/* Lines of "code  meaning". */
static void man_status(FILE *out, const char *lines) {
    while (*lines) {
        size_t length = strcspn(lines, "\n");
        fprintf(out, ".TP\n%.1s\n%.*s\n", lines, (int)length - 3, lines + 3);
        lines += length + (lines[length] == '\n');
    }
}

void man_command(const Command *command, FILE *out) {
    char title[64] = "BLEMISH\\-", name[64];
    size_t start = strlen(title);
    for (size_t i = 0; command->name[i]; i++) title[start + i] = (char)toupper(command->name[i]);
    snprintf(name, sizeof name, "blemish\\-%s", command->name);
    man_start(out, title, name, command->summary);
    char line[512];
    FILE *memory = fmemopen(line, sizeof line, "w");
    if (memory) {
        synopsis(command, memory);
        fclose(memory);
        roff(out, line);
    }
    fputs(".SH DESCRIPTION\n", out);
    roff(out, command->description);
    fputs(".SH OPTIONS\n", out);
    for (size_t i = 0; i < command->option_count; i++) {
        char term[96], help[1024];
        option_term(&command->options[i], term);
        option_help(&command->options[i], help);
        man_item(out, term, help);
    }
    man_item(out, "--help", "print a summary of this page");
    if (command->list) {
        fputs(".SH \"", out);
        for (const char *c = command->list_title; *c; c++) fputc(toupper(*c), out);
        fputs("\"\n", out);
        command->list(man_item, out);
    }
    fputs(".SH \"EXIT STATUS\"\n", out);
    man_status(out, usual_status);
    if (command->exit_status) man_status(out, command->exit_status);
    man_example(out, command->example);
    fputs(".SH \"SEE ALSO\"\n.BR blemish (1)\n", out);
}

void man_program(const Command *const *commands, size_t count, FILE *out) {
    man_start(out, "BLEMISH", "blemish", program_summary);
    fputs(".B blemish\n.I COMMAND\n[\\fIARGUMENT\\fR]...\n.SH DESCRIPTION\n", out);
    roff(out, program_description);
    fputs(".SH COMMANDS\n", out);
    for (size_t i = 0; i < count; i++) {
        fprintf(out, ".TP\n.BR blemish\\-%s (1)\n", commands[i]->name);
        roff(out, commands[i]->summary);
    }
    fputs(".SH OPTIONS\n", out);
    man_item(out, "--help", "print a summary of this page; after a command, of that command");
    man_item(out, "--version", "print the version");
    fputs(".SH ENVIRONMENT\n", out);
    man_item(out, "BLEMISH_WEIGHTS", "a folder that is searched first for backbone weights");
    fputs(".SH \"EXIT STATUS\"\n", out);
    man_status(out, usual_status);
    man_example(out, program_example);
    fputs(".SH \"SEE ALSO\"\n", out);
    for (size_t i = 0; i < count; i++) {
        fprintf(out, ".BR blemish\\-%s (1)%s\n", commands[i]->name, i + 1 < count ? "," : "");
    }
}
