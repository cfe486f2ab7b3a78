// What bounds one request, whatever is configured.

/** Of the request line and all header fields. */
export const HEADER_BYTES_MAX = 16 * 1024
/** Requests of one connection whose answers are not sent. */
export const PIPELINED_MAX = 32
/** Of a body, unless its route takes more. */
export const BODY_BYTES_MAX = 256 * 1024
/** Of all bodies of requests under way. */
export const BODIES_BYTES_MAX = 64 * 1024 * 1024
