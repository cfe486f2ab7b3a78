// Limits that are part of RocketMQ's data model. Limits an operator may move live in config.ts.

/** RocketMQ's default `maxMessageSize`, and the default of `broker.bodyBytesMax`. */
export const BODY_BYTES_DEFAULT = 4 * 1024 * 1024
/**
 * The highest `broker.bodyBytesMax`: a body is copied, summed and written within one turn of the
 * event loop.
 */
export const BODY_BYTES_MAX = 16 * 1024 * 1024
/** The largest body that a consumer inflates: RocketMQ bounds only the bytes that are sent. */
export const INFLATED_BODY_BYTES_MAX = 64 * 1024 * 1024
/** The record has a signed 16-bit length for properties. */
export const PROPERTIES_BYTES_MAX = 32_767
export const TOPIC_CHARS_MAX = 127
/** Retry and dead-letter topics carry a group's name behind a prefix. */
export const SYSTEM_TOPIC_CHARS_MAX = 255
export const GROUP_CHARS_MAX = 120
export const QUEUES_PER_TOPIC_MAX = 1024
/** Deliveries after the first; then the dead-letter topic. */
export const RETRY_TIMES_DEFAULT = 16
