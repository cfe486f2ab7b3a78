// Every endpoint of the admin API.
import { type HttpAnswer, json } from '../answer.ts'
import type { Route } from '../routes.ts'
import { amqpEndpoints } from './amqp.ts'
import { clusterEndpoints } from './cluster.ts'
import { deadLetterEndpoints } from './dead-letters.ts'
import { API_PREFIX, type ApiContext, type Endpoint, routeOf } from './endpoint.ts'
import { groupEndpoints } from './groups.ts'
import { messageEndpoints } from './messages.ts'
import { mqttEndpoints } from './mqtt.ts'
import { openApi } from './openapi.ts'
import { topicEndpoints } from './topics.ts'
import { userEndpoints } from './users.ts'

export const ENDPOINTS: readonly Endpoint[] = [
  ...clusterEndpoints,
  ...topicEndpoints,
  ...messageEndpoints,
  ...groupEndpoints,
  ...deadLetterEndpoints,
  ...mqttEndpoints,
  ...amqpEndpoints,
  ...userEndpoints,
]

/** `context`: undefined while the broker is not there. */
export function apiRoutes(context: () => ApiContext | undefined): readonly Route[] {
  let document: unknown
  const show = (): HttpAnswer => {
    document ??= openApi(ENDPOINTS)
    return json(document)
  }
  return [
    ...ENDPOINTS.map((one) => routeOf(one, context)),
    {
      method: 'GET',
      path: `${API_PREFIX}/openapi.json`,
      // It says nothing that the documentation does not.
      serve: show,
    },
  ]
}
