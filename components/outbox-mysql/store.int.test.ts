import { describeStore } from '../outbox/store-suite.ts'
import { mysqlUnderTest } from '../outbox/testing.ts'

describeStore(mysqlUnderTest())
