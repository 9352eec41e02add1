/*
 * Which program is at the other end of a socket.
 *
 * Threads: any.
 */
#ifndef FS_PEER_H
#define FS_PEER_H

/*
 * The program of the process that connected @socket (AF_UNIX), if it is the one
 * at @path: a descriptor (O_PATH). Else -EPERM, or -ESRCH when that process has
 * ended; before Linux 6.5 another one that has its number by now is taken for
 * it.
 *
 * @path may be of anybody's choice and lead to a FIFO, or to where nobody answers:
 * it is compared and not walked, and no file is asked to be opened.
 */
int peer_program(int socket, const char *path);

#endif
