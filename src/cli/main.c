#include "cli.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

static const Command *const commands[] = {&command_train,    &command_eval,     &command_predict, &command_info,
                                          &command_data,     &command_synth,    &command_weights, &command_bench,
                                          &command_quantize, &command_protocol, &command_audit,   &command_calibrate,
                                          &command_compare,  &command_roi};
enum { COMMANDS = sizeof commands / sizeof *commands };

static const char *command_name(const void *user, size_t index) {
    (void)user;
    return index < COMMANDS ? commands[index]->name : NULL;
}

static const Command *find_command(const char *name) {
    for (size_t i = 0; i < COMMANDS; i++) {
        if (!strcmp(commands[i]->name, name)) return commands[i];
    }
    const char *nearest = nearest_word(name, command_name, NULL);
    if (nearest) {
        say("%s: unknown command, did you mean %s? See 'blemish --help'", name, nearest);
    } else {
        say("%s: unknown command; see 'blemish --help'", name);
    }
    return NULL;
}

/* "blemish man [COMMAND]" prints a man page as roff: the build makes the installed pages with it. */
static int man(const char *name) {
    const Command *command = name ? find_command(name) : NULL;
    if (name && !command) return EXIT_USAGE;
    if (command) {
        man_command(command, stdout);
    } else {
        man_program(commands, COMMANDS, stdout);
    }
    return EXIT_OK;
}

static int run(int argc, char **argv) {
    const char *word = argc > 1 ? argv[1] : NULL;
    if (!word) {
        say("a command is missing; see 'blemish --help'");
        return EXIT_USAGE;
    }
    if (!strcmp(word, "--version")) {
        printf("blemish %s\n", blemish_version());
        return EXIT_OK;
    }
    bool help = !strcmp(word, "help");
    if (!strcmp(word, "--help") || !strcmp(word, "-h") || (help && argc == 2)) {
        help_program(commands, COMMANDS, stdout);
        return EXIT_OK;
    }
    if (!strcmp(word, "man")) return man(argc > 2 ? argv[2] : NULL);
    const Command *command = find_command(help ? argv[2] : word);
    if (!command) return EXIT_USAGE;
    if (help) {
        help_command(command, stdout);
        return EXIT_OK;
    }
    return command->run(argc - 2, argv + 2);
}

/* A closed standard stream would give its number to the next file opened, a model say, which output would then be
 * written into. A descriptor that cannot be written fills the gap, so output fails as it should. */
static void fill_standard_streams(void) {
    int fd;
    do {
        fd = open("/dev/null", O_RDONLY);
    } while (fd >= 0 && fd <= STDERR_FILENO);
    if (fd >= 0) close(fd);
}

int main(int argc, char **argv) {
    fill_standard_streams();
    signal(SIGPIPE, SIG_IGN); // a closed pipe is a failed write, reported like a full disk
    int code = run(argc, argv);
    errno = 0;
    bool failed = ferror(stdout) != 0;
    if (fclose(stdout) || failed) return fail("standard output: %s", errno ? strerror(errno) : "write error");
    return code;
}
