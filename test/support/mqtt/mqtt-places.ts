// Where messages stand and how far subscriptions got, for tests that need none of it to be real.
import type { Home } from '../../../src/gateway/mqtt/outgoing/home.ts'
import type { Place, Subscription } from '../../../src/gateway/mqtt/session/subscriptions.ts'
import { logPosition, queueOffset } from '../../../src/model/positions.ts'

export const placeOn = (topic: string, brokerName = 'broker-a', offset = 0): Place => ({
  ...{ brokerName, topic, queueId: 0 },
  ...{ from: queueOffset(offset), next: queueOffset(offset), floor: logPosition(0) },
})

export const subscriptionOf = (filter: string, places: readonly Place[]): Subscription => ({
  ...{ text: filter, filter, id: undefined, qos: 1, share: undefined, bound: 'owned', places },
  starts: undefined,
  ...{ noLocal: false, retainAsPublished: false, retainHandling: 0 },
})

export const homeOf = (offset: number, topic = 'orders', brokerName = 'broker-a'): Home => ({
  ...{ brokerName, topic, queueId: offset % 7, offset: queueOffset(offset), stamp: offset % 1000 },
})
