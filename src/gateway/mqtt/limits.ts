// The limits of one MQTT client. Everything a peer can make grow has its bound here or in
// MqttOptions (options.ts), which an operator may move.

/**
 * CONNECT. The largest of 3.1.1 (client id, will topic, will message, user name and password of
 * 65,535 bytes each) has 327,703 bytes; MQTT 5 adds properties without a limit of their own.
 */
export const CONNECT_BYTES_MAX = 512 * 1024
/**
 * All that waits before a CONNECT is answered, of all connections; beyond, the connection with the
 * most is refused as if the broker were busy.
 */
export const CONNECTING_BYTES_MAX = 32 * 1024 * 1024
/**
 * A decoded CONNECT takes up to twice its bytes: text with one character beyond Latin-1 has two for
 * each.
 */
export const CONNECT_DECODED_FACTOR = 2
/** The beginning of a PUBLISH that tells its topic and packet id. */
export const PUBLISH_BEGINNING_BYTES = 65_535 + 4
export const CLIENT_ID_BYTES_MAX = 1024
export const USER_PROPERTIES_MAX = 64
export const USER_PROPERTY_BYTES_MAX = 32 * 1024
/**
 * QoS 2 packet ids a session of 3.1 and 3.1.1 may hold without PUBREL: all there are. Clients of
 * these versions are told no number, and some send all that they have queued before they look at an
 * answer.
 */
export const INBOUND_IDS_MAX = 65_535
/**
 * Filters of one SUBSCRIBE or UNSUBSCRIBE that are looked at; those behind them are refused unread.
 */
export const FILTERS_PER_PACKET_MAX = 10_000
/** Bytes of all filters of one session: its durable copy holds them, and has room for so many. */
export const FILTER_BYTES_PER_SESSION_MAX = 1024 * 1024
/**
 * Topics whose route is remembered, per connection and per gateway; beyond, the memory starts
 * afresh.
 */
export const ROUTES_PER_CONNECTION_MAX = 1024
export const ROUTES_MAX = 65_536
/**
 * Routes of longer names are worked out for each message: a table of them would take too much
 * memory.
 */
export const ROUTE_NAME_CHARS_MAX = 1024
