// Limits of the AMQP front-end that no operator needs to move; what an operator may move is an
// option of AmqpGateway. Every buffer, table and loop of this folder ends at one of these.
import { BODY_BYTES_MAX } from '../../model/limits.ts'

/** Frames before the peer's `open` was accepted. */
export const HANDSHAKE_FRAME_BYTES_MAX = 4096
/** Nesting of one decoded value. */
export const DECODE_DEPTH_MAX = 32
/** Array elements that take no bytes on the wire, over one whole decoded value. */
export const ZERO_WIDTH_ELEMENTS_MAX = 4096
/**
 * Values in the lists, maps and arrays of one message, which are walked one by one; arrays of
 * fixed-width values are not. And its body sections.
 */
export const VALUES_PER_MESSAGE_MAX = 512 * 1024
export const SECTIONS_PER_MESSAGE_MAX = 16_384
/** Container id, link name, address, host name. */
export const NAME_BYTES_MAX = 512
/** Filters of one source that are applied and echoed, and all their names and values together. */
export const FILTERS_MAX = 8
export const FILTER_CHARS_MAX = 8192
export const DELIVERY_TAG_BYTES_MAX = 32
/** Smallest max-frame-size a peer may ask for (AMQP 2.7.1). */
export const FRAME_BYTES_MIN = 512
/** A peer that wants heartbeats more often than twice this is refused. */
export const IDLE_TIMEOUT_MS_MIN = 50
/** Incomplete deliveries of one connection, as a multiple of the largest message. */
export const PARTIAL_MESSAGES_MAX = 4
/** As so many bytes counts each piece of an incomplete delivery at least, for what holds it. */
export const PIECE_BYTES_MIN = 128
/** Transfer frames a peer may send before our next session flow. */
export const INCOMING_WINDOW = 8192
/** Transfer frames we may send in all; peers track it, and it limits neither side. */
export const OUTGOING_WINDOW = 0xffff_ffff
/** Deliveries a sending peer may have under way on one link. */
export const LINK_CREDIT_MAX = 2000
/** Deliveries sent and not yet settled by the peer, per link. */
export const UNSETTLED_PER_LINK_MAX = 10_000
/** The same over all links of a connection; then nothing more is sent until so many are left. */
export const UNSETTLED_PER_CONNECTION_MAX = 20_000
export const UNSETTLED_PER_CONNECTION_RESUMED = 15_000
/** Deliveries that stay, looked at for dispositions; then what follows waits for a later turn. */
export const LOOKS_PER_TURN_MAX = 4096
/** Annotations that consumers add to a message when they hand it back, in all. */
export const NOTE_BYTES_MAX = 3072
/** Open transactions of one connection, those that have failed and are not discharged included. */
export const TRANSACTIONS_PER_CONNECTION_MAX = 64
/** Messages and outcomes of one transaction; with 64 of them it is a million on a connection. */
export const TRANSACTION_PARTS_MAX = 16_384
/** Bytes of its messages: one message of any size, or a part of the log's frame. */
export const TRANSACTION_BYTES_MAX = BODY_BYTES_MAX + 128 * 1024
/** The same of all open transactions of the front-end. */
export const TRANSACTION_BYTES_TOTAL_MAX = 128 * 1024 * 1024
/** A message to the coordinator; and their credit. */
export const COORDINATOR_MESSAGE_BYTES_MAX = 4096
export const COORDINATOR_CREDIT = 100
/** AMQP 4.5.9. */
export const TRANSACTION_ID_BYTES_MAX = 32
/** Bytes of properties that a link looks through in one turn: a message may have thousands. */
export const PREPARED_PER_TURN_MAX = 128 * 1024
/** One read of a feed. */
export const READ_MESSAGES_MAX = 256
export const READ_BYTES_MAX = 1024 * 1024
/**
 * Bytes that all links of a connection read at a time, each its share; one message may be larger
 * than that.
 */
export const READ_AHEAD_BYTES_MAX = 16 * READ_BYTES_MAX
/** Links of one connection. */
export const LINKS_PER_CONNECTION_MAX = 1000
/** A peer that was told goodbye has this long to close. */
export const CLOSE_GRACE_MS = 2000
