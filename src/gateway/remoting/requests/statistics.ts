// How much went through a topic, or to a group, of late.
import { REQUEST, RESPONSE } from '../../../remoting/codes.ts'
import { readFields } from '../../../remoting/layout.ts'
import { encodeStatistics, VIEW_STATS } from '../../../remoting/requests/statistics.ts'
import { topicResource } from '../address.ts'
import {
  type Answer,
  answerBody,
  authorize,
  authorizeConsuming,
  type Call,
  type RequestTable,
} from '../call.ts'
import { storedOfLate } from '../stored-of-late.ts'

export const statisticsRequests: RequestTable = new Map([[REQUEST.viewBrokerStats, viewStats]])

async function viewStats(call: Call): Promise<Answer> {
  const { statsName, statsKey } = readFields(VIEW_STATS, call.fields)
  if (statsName === 'TOPIC_PUT_NUMS') return storedIn(call, statsKey)
  // A topic may have an '@' in its name, a group not.
  const [topic, group] = splitLast(statsKey)
  if (statsName === 'GROUP_GET_NUMS') return givenTo(call, topic, group)
  return notCounted(statsName, statsKey)
}

async function storedIn(call: Call, topic: string): Promise<Answer> {
  authorize(call, 'read', topicResource(topic))
  if ((await call.context.broker.topics.get(topic)) === undefined) {
    return notCounted('TOPIC_PUT_NUMS', topic)
  }
  return answerBody(encodeStatistics(await storedOfLate(call, topic)))
}

async function givenTo(call: Call, topic: string, group: string): Promise<Answer> {
  authorizeConsuming(call, group, topic, 'read')
  const { groups } = call.context.broker
  if ((await groups.get(group)) === undefined) {
    return notCounted('GROUP_GET_NUMS', `${topic}@${group}`)
  }
  return answerBody(encodeStatistics(await groups.given(group, topic)))
}

function splitLast(key: string): [string, string] {
  const at = key.lastIndexOf('@')
  return [key.slice(0, Math.max(0, at)), key.slice(at + 1)]
}

const notCounted = (name: string, key: string): Answer => ({
  code: RESPONSE.systemError,
  remark: `The stats <${name}> <${key}> not exist`,
})
