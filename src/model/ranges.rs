//! Address ranges: CIDRs and `from-to`, and whether they overlap.

use std::net::IpAddr;

/// A range of addresses of one family, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Range {
    v4: bool,
    first: u128,
    last: u128,
}

fn number(address: IpAddr) -> (bool, u128) {
    match address {
        IpAddr::V4(address) => (true, u128::from(u32::from(address))),
        IpAddr::V6(address) => (false, u128::from(address)),
    }
}

impl Range {
    /// Reads `10.42.0.0/16`; the address must be the network's own.
    pub(crate) fn cidr(text: &str) -> Result<Self, String> {
        let (address, length) = text.split_once('/').ok_or("a CIDR is written like `10.42.0.0/16`")?;
        let address: IpAddr = address.parse().map_err(|_| format!("`{address}` is not an IP address"))?;
        let (v4, first) = number(address);
        let bits: u32 = if v4 { 32 } else { 128 };
        let length: u32 = length
            .parse()
            .ok()
            .filter(|number| *number <= bits && !length.starts_with('+'))
            .ok_or_else(|| format!("a prefix length is 0 to {bits}"))?;
        let host = if length == 0 && bits == 128 { u128::MAX } else { (1_u128 << (bits - length)) - 1 };
        if first & host != 0 {
            return Err(format!("`{text}` has host bits set: an address of a network ends in zeros there"));
        }
        Ok(Self { v4, first, last: first | host })
    }

    /// Reads `10.0.0.200-10.0.0.220`, a single address, or a CIDR.
    pub(crate) fn pool(text: &str) -> Result<Self, String> {
        if text.contains('/') {
            return Self::cidr(text);
        }
        let (from, to) = text.split_once('-').unwrap_or((text, text));
        let parse = |part: &str| {
            part.trim().parse::<IpAddr>().map_err(|_| format!("`{}` is not an IP address", part.trim()))
        };
        let ((v4, first), (v4_last, last)) = (number(parse(from)?), number(parse(to)?));
        if v4 != v4_last {
            return Err("a range is either IPv4 or IPv6".to_owned());
        }
        if first > last {
            return Err(format!("the range is reversed: write `{}-{}`", to.trim(), from.trim()));
        }
        Ok(Self { v4, first, last })
    }

    /// IPv4, not IPv6.
    pub(crate) fn is_v4(&self) -> bool {
        self.v4
    }

    /// How many bits tell its addresses apart: 8 for a `/24` of IPv4.
    pub(crate) fn bits(&self) -> u32 {
        u128::BITS - (self.last - self.first).leading_zeros()
    }

    /// Whether all of another one is in it.
    pub(crate) fn contains(&self, other: &Self) -> bool {
        self.v4 == other.v4 && self.first <= other.first && other.last <= self.last
    }

    /// Its first addresses, so many at most.
    pub(crate) fn addresses(&self, most: usize) -> impl Iterator<Item = IpAddr> + use<> {
        let v4 = self.v4;
        (self.first..=self.last).take(most).filter_map(move |number| {
            if v4 {
                u32::try_from(number).ok().map(|number| IpAddr::V4(number.into()))
            } else {
                Some(IpAddr::V6(number.into()))
            }
        })
    }

    /// Whether an address is common to both.
    pub(crate) fn overlaps(&self, other: &Self) -> bool {
        self.v4 == other.v4 && self.first <= other.last && other.first <= self.last
    }
}

#[cfg(test)]
mod tests {
    use super::Range;

    #[test]
    fn ranges_are_read_and_compared() {
        let cidr = |text| Range::cidr(text).unwrap();
        assert!(cidr("10.0.0.0/8").overlaps(&cidr("10.42.0.0/16")));
        assert!(!cidr("10.42.0.0/16").overlaps(&cidr("10.43.0.0/16")));
        assert!(!cidr("0.0.0.0/0").overlaps(&cidr("::/0")));
        assert!(cidr("10.0.0.0/8").contains(&cidr("10.42.0.0/16")));
        assert!(!cidr("10.42.0.0/16").contains(&cidr("10.0.0.0/8")));
        let few: Vec<String> =
            Range::pool("10.0.0.254-10.0.1.9").unwrap().addresses(3).map(|it| it.to_string()).collect();
        assert_eq!(few, ["10.0.0.254", "10.0.0.255", "10.0.1.0"]);
        assert!(Range::pool("10.42.0.5").unwrap().overlaps(&cidr("10.42.0.0/16")));
        for bad in ["10.42.0.0", "10.42.0.1/16", "10.42.0.0/33", "x/8", "10.42.0.0/-1", "10.42.0.0-10.42.0.9"]
        {
            assert!(Range::cidr(bad).is_err(), "{bad}");
        }
        for bad in ["10.0.0.9-10.0.0.1", "10.0.0.1-::1", "10.0.0.1-", "-", "", "10.42.0.1/16"] {
            assert!(Range::pool(bad).is_err(), "{bad}");
        }
    }
}
