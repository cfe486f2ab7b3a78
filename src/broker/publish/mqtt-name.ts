// The MQTT name of a message that comes by RocketMQ's protocol: a gateway before this broker, or an
// aedes, is a native sender. A name is believed where it means the very topic that the sender may
// write to, as if the message had come by MQTT.

import { encodeProperties, findProperty, PROPERTY } from '../../model/properties.ts'
import { isMqttAddressable, mqttPlace } from '../../model/routing-name.ts'

const QOS_SAID: ReadonlySet<string | undefined> = new Set(['0', '2'])
/**
 * Wildcards, and what no client can publish: names that are reserved begin with '$'. The control
 * characters are spelt out, as a class of Unicode loads tables at each start.
 */
// biome-ignore lint/suspicious/noControlCharactersInRegex: no name has them
const UNSAFE = /^\$|[+#\u0000-\u001f\u007f-\u009f]/

/** What is believed of a sender's properties; `isThere`: is there a topic of this name? */
export function mqttProperties(
  topic: string,
  properties: Uint8Array,
  isThere: (topic: string) => boolean,
): Buffer | undefined {
  const name = findProperty(properties, PROPERTY.mqttTopic)
  if (name === undefined || UNSAFE.test(name)) return undefined
  const first = name.split('/', 1)[0]!
  if (mqttPlace(name, isMqttAddressable(first) && isThere(first)).topic !== topic) return undefined
  const entries: [string, string][] = [[PROPERTY.mqttTopic, name]]
  const qos = findProperty(properties, PROPERTY.mqttQos)
  if (QOS_SAID.has(qos)) entries.push([PROPERTY.mqttQos, qos!])
  if (findProperty(properties, PROPERTY.mqttRetain) === '1')
    entries.push([PROPERTY.mqttRetain, '1'])
  return encodeProperties(entries)
}
