import { describeStore } from '../outbox/store-suite.ts'
import { mongodbUnderTest } from '../outbox/testing.ts'

describeStore(mongodbUnderTest())
