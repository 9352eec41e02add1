/*
 * What the fault-injecting twin of a seam is told to do.
 */
#ifndef STORAGE_FAULT_H
#define STORAGE_FAULT_H

#include <stdbool.h>
#include <stdint.h>

/*
 * What a fault injector does to the calls that it is told to hit. SHORTEN and
 * CORRUPT act on the bytes of a read (a manifest's too), or on the bytes that
 * a put hands on, which the store then refuses as it would a torn upload. On a
 * resolved digest CORRUPT flips a bit as well; calls without bytes are left
 * alone by both.
 */
enum fault_action {
	FAULT_FAIL,    /* return -@code */
	FAULT_DELAY,   /* wait @arg ms, then go on */
	FAULT_SHORTEN, /* deliver all but the last @arg bytes, report success */
	FAULT_CORRUPT, /* flip one bit of the byte at @arg (modulo length) */
};
struct fault {
	enum fault_action action;
	unsigned nth; /* 1: the first call; counted over all operations */
	bool every;   /* from the nth on, each call */
	int code;     /* FAULT_FAIL */
	uint64_t arg;
};

#endif
