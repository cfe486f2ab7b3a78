// What one MQTT client may ask for. Everything a peer can make grow has its bound here or in
// MqttOptions (server.ts), which an operator may move.

/** A first packet longer than this is not read, whatever it claims. */
export const CONNECT_BYTES_MAX = 64 * 1024
export const CLIENT_ID_BYTES_MAX = 1024
export const TOPIC_BYTES_MAX = 4096
export const TOPIC_LEVELS_MAX = 128
export const USER_PROPERTIES_MAX = 64
export const USER_PROPERTY_BYTES_MAX = 32 * 1024
/** QoS 2 packet ids a session may hold without PUBREL. */
export const INBOUND_IDS_MAX = 1000
/** Filters of one SUBSCRIBE or UNSUBSCRIBE; the session's total has its own limit. */
export const FILTERS_PER_PACKET_MAX = 1000
/** Payloads from here on are handed to the socket as they are instead of being copied. */
export const COPY_BYTES_MAX = 16 * 1024
/** Topics whose route is remembered, per connection and per gateway; beyond, the memory starts afresh. */
export const ROUTES_PER_CONNECTION_MAX = 1024
export const ROUTES_MAX = 65_536
