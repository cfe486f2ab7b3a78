// Three numbers that must never be mixed up. All stay below 2^53 (8 PiB of log), asserted at the
// edges.

/**
 * Byte position in the commit log; what RocketMQ calls the physical offset. Each broker has a log
 * of its own: positions in the logs of two say nothing of each other.
 */
export type LogPosition = number & { readonly __brand: 'LogPosition' }

/** Count of a message within one queue: 0, 1, 2, ... without holes. */
export type QueueOffset = number & { readonly __brand: 'QueueOffset' }

export const logPosition = (value: number): LogPosition => value as LogPosition
export const queueOffset = (value: number): QueueOffset => value as QueueOffset
