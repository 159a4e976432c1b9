// A machine that lacks something, for the program that this is preloaded into (LD_PRELOAD), as LACKING says:
//   bridge      the kernel has no bridges: what is sent to it asks for a kind of link that no kernel has
//   conntrack   nf_tables has no `ct` expressions, likewise
//   clock       the clock has not been set since the machine was made
//   FILE        a day has passed as soon as there is that file, for the clock and since the machine was started: it slept
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

static int lacks(const char* what) {
    const char* lacking = getenv("LACKING");
    return lacking != NULL && strcmp(lacking, what) == 0;
}

static void spoil(const struct msghdr* message, const char* name, size_t size) {
    for (size_t i = 0; i < message->msg_iovlen; ++i) {
        char* at = message->msg_iov[i].iov_base;
        const char* end = at + message->msg_iov[i].iov_len;
        while ((at = memmem(at, (size_t)(end - at), name, size)) != NULL) at[3] = '?';
    }
}

ssize_t sendmsg(int socket, const struct msghdr* message, int flags) {
    ssize_t (*real)(int, const struct msghdr*, int) = (ssize_t(*)(int, const struct msghdr*, int))dlsym(RTLD_NEXT, "sendmsg");
    // An attribute's type (IFLA_INFO_KIND, NFTA_EXPR_NAME: both 1), then the name.
    if (lacks("bridge")) spoil(message, "\1\0bridge", 8);
    if (lacks("conntrack")) spoil(message, "\1\0ct\0", 5);
    return real(socket, message, flags);
}

int clock_gettime(clockid_t clock, struct timespec* time) {
    int (*real)(clockid_t, struct timespec*) = (int (*)(clockid_t, struct timespec*))dlsym(RTLD_NEXT, "clock_gettime");
    const int status = real(clock, time);
    const int day = 24 * 60 * 60;
    if (status == 0 && clock == CLOCK_REALTIME && lacks("clock")) time->tv_sec = day;
    const char* file = getenv("LACKING");
    const int goes_on = clock == CLOCK_REALTIME || clock == CLOCK_BOOTTIME;
    if (status == 0 && goes_on && file != NULL && file[0] == '/' && access(file, F_OK) == 0) time->tv_sec += day;
    return status;
}
