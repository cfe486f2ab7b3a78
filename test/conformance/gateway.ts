// What every front-end promises, whatever its protocol: one suite, with a driver for each. Over the
// embedded broker on a real directory, and over the same broker made late, out of order and
// failing.
import { badInputCases } from './gateway/bad-input.ts'
import { deliveryCases } from './gateway/delivery.ts'
import type { Driver } from './gateway/driver.ts'
import { flowCases } from './gateway/flow.ts'
import { refusalCases } from './gateway/refusals.ts'
import { stoppingCases } from './gateway/stopping.ts'
import { troubleCases } from './gateway/trouble.ts'

export function gatewaySuite(driver: Driver): void {
  deliveryCases(driver, false)
  deliveryCases(driver, true)
  flowCases(driver)
  stoppingCases(driver)
  badInputCases(driver)
  refusalCases(driver)
  troubleCases(driver)
}
