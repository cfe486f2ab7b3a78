// The settings of the MQTT front-end, with their defaults.
import { BODY_BYTES_DEFAULT } from '../../model/limits.ts'
import { FILTER_BYTES_MAX } from '../../model/topic-filter.ts'

export interface MqttOptions {
  /** Largest packet after CONNECT, either way. */
  readonly packetBytesMax: number
  /** From the connection to a whole CONNECT. */
  readonly connectTimeoutMs: number
  /**
   * A longer keep alive (or none) is set to this where the client can be told (MQTT 5); 0 = as
   * asked.
   */
  readonly keepAliveSecondsMax: number
  /** Seconds of keep alive that every MQTT 5 client is told to use; undefined = as asked. */
  readonly serverKeepAlive: number | undefined
  /** A client that gives a user name has that as its client id, whatever it asks for. */
  readonly usernameAsClientId: boolean
  /** How long a session of 3.1 and 3.1.1 without the clean flag is kept without a connection. */
  readonly sessionExpiryMs: number
  /** The longest expiry a client of MQTT 5 gets, whatever it asks for. */
  readonly sessionExpiryMsMax: number
  /** Sessions that are kept beyond their connections. */
  readonly sessionsMax: number
  /** Filters of one session. */
  readonly filtersMax: number
  /** Messages of QoS 1 and 2 on their way to one client. */
  readonly inFlightMax: number
  /** Told to MQTT 5 clients; held to for QoS 2, while QoS 1 is slowed down instead. */
  readonly receiveMaximum: number
  /** Topic aliases that one MQTT 5 client may use. */
  readonly topicAliasMax: number
  /** Topic aliases used towards one MQTT 5 client that allows them. */
  readonly outboundTopicAliasMax: number
  /** Length of a topic name or filter. */
  readonly topicBytesMax: number
  readonly topicLevelsMax: number
  /** Bytes on their way to one client, beyond which its messages wait in the log. */
  readonly undeliveredBytesMax: number
  /** Bytes of one client on their way into the log, beyond which it is not read. */
  readonly unstoredBytesMax: number
  /** How long a message of a shared subscription stays with its member before it is renewed. */
  readonly invisibleMs: number
  readonly retainedMax: number
  readonly retainedBytesMax: number
}

const MINUTE_MS = 60_000
const DAY_MS = 24 * 60 * MINUTE_MS
const MIB = 1024 * 1024
/** Topic name and properties of a message whose body is as large as bodies get. */
const HEADER_BYTES = 128 * 1024

export const MQTT_DEFAULTS: MqttOptions = {
  packetBytesMax: BODY_BYTES_DEFAULT + HEADER_BYTES,
  connectTimeoutMs: 5_000,
  keepAliveSecondsMax: 0,
  serverKeepAlive: undefined,
  usernameAsClientId: false,
  sessionExpiryMs: 7 * DAY_MS,
  sessionExpiryMsMax: 365 * DAY_MS,
  sessionsMax: 100_000,
  filtersMax: 1_000,
  inFlightMax: 256,
  receiveMaximum: 256,
  topicAliasMax: 64,
  // Clients are in use that allow aliases and then hand their user an empty topic.
  outboundTopicAliasMax: 0,
  topicBytesMax: FILTER_BYTES_MAX,
  topicLevelsMax: 200,
  undeliveredBytesMax: MIB,
  unstoredBytesMax: 4 * MIB,
  invisibleMs: MINUTE_MS,
  retainedMax: 100_000,
  retainedBytesMax: 256 * MIB,
}
