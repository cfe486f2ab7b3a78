// The counters of the MQTT front-end.

/** Counts since the start, for the admin's view and for tests. */
export interface MqttCounters {
  published: number
  /** PUBLISHes that could not be taken. */
  refused: number
  delivered: number
  /** Larger than the client's maximum packet size. */
  droppedTooLarge: number
  expired: number
  /** Taken by retention before a session read them. */
  missed: number
}
