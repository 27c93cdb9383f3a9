//! Areas on the sphere as boxes of longitude and latitude, which is what the index on `geo` can search.

use geo::{Coord, Rect, coord};

/// What `ST_DistanceSphere` takes for the Earth's radius, metres: the mean radius (2a + b) / 3 of WGS 84.
const EARTH_RADIUS_M: f64 = 6_371_008.771_415_06;

/// Widens a circle's box, radians: more than rounding can take away, 6 mm on the ground.
const SLACK: f64 = 1e-9;

/// Every point within `radius_m` metres of the centre, along the surface of the sphere.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Circle {
    /// Longitude and latitude, degrees.
    pub center: Coord,
    /// Metres.
    pub radius_m: f64,
}

impl Circle {
    /// Half the Earth's circumference, metres, rounded up: a circle of this radius is everything.
    pub const MAX_RADIUS_M: f64 = 20_015_116.0;

    /// Boxes that hold the whole circle: two when it crosses the antimeridian.
    ///
    /// The circle's westernmost and easternmost points lie asin(sin r / cos φ) from its centre, not at the centre's
    /// latitude (<http://janmatuschek.de/LatitudeLongitudeBoundingCoordinates>). A circle around a pole has every longitude.
    pub fn boxes(&self) -> Vec<Rect> {
        let radius = self.radius_m / EARTH_RADIUS_M + SLACK;
        let latitude = self.center.y.to_radians();
        let south = latitude - radius;
        let north = latitude + radius;
        let pole = std::f64::consts::FRAC_PI_2;
        if south <= -pole || north >= pole {
            let south = south.to_degrees().max(-90.0);
            let north = north.to_degrees().min(90.0);
            return vec![Rect::new(coord! { x: -180.0, y: south }, coord! { x: 180.0, y: north })];
        }
        let half_width = (radius.sin() / latitude.cos()).asin().to_degrees() + SLACK.to_degrees();
        Bounds {
            west: self.center.x - half_width,
            south: south.to_degrees(),
            east: self.center.x + half_width,
            north: north.to_degrees(),
        }
        .boxes()
    }
}

/// Between two meridians and two parallels, degrees. Where `west` is not below `east`, or one of them is
/// beyond ±180, the area crosses the antimeridian.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bounds {
    /// Where it begins, going east.
    pub west: f64,
    /// Its lower edge.
    pub south: f64,
    /// Where it ends, going east.
    pub east: f64,
    /// Its upper edge.
    pub north: f64,
}

impl Bounds {
    /// The area as boxes within ±180 degrees. Its edges belong to it, and both meridians ±180 are one.
    pub fn boxes(&self) -> Vec<Rect> {
        let Self { west, south, east, north } = *self;
        let strip =
            |west: f64, east: f64| Rect::new(coord! { x: west, y: south }, coord! { x: east, y: north });
        if west <= -180.0 {
            vec![strip(west + 360.0, 180.0), strip(-180.0, east)]
        } else if east >= 180.0 {
            vec![strip(west, 180.0), strip(-180.0, east - 360.0)]
        } else if west > east {
            vec![strip(west, 180.0), strip(-180.0, east)]
        } else {
            vec![strip(west, east)]
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn circle(longitude: f64, latitude: f64, radius_m: f64) -> Vec<Rect> {
        Circle { center: coord! { x: longitude, y: latitude }, radius_m }.boxes()
    }

    #[test]
    fn a_circle_away_from_poles_and_antimeridian_is_one_box() {
        let boxes = circle(0.0, 60.0, 111_195.0);
        assert_eq!(boxes.len(), 1);
        // One degree of latitude; at 60 degrees a little more than two degrees of longitude.
        assert!((boxes[0].max().y - 61.0).abs() < 1e-4);
        assert!((boxes[0].max().x - 2.0004).abs() < 1e-3);
    }

    #[test]
    fn a_circle_across_the_antimeridian_is_two_boxes() {
        let boxes = circle(179.9, 0.0, 50_000.0);
        assert_eq!(boxes.len(), 2);
        assert!(boxes[0].min().x < 179.9 && boxes[0].max().x >= 180.0);
        assert!(boxes[1].min().x <= -180.0 && boxes[1].max().x > -179.7);
    }

    #[test]
    fn a_circle_around_a_pole_has_every_longitude() {
        let boxes = circle(25.0, 89.9, 50_000.0);
        assert_eq!((boxes.len(), boxes[0].width()), (1, 360.0));
        assert_eq!(circle(10.0, -10.0, Circle::MAX_RADIUS_M)[0].height(), 180.0);
    }

    #[test]
    fn bounds_may_cross_the_antimeridian() {
        let boxes = Bounds { west: 170.0, south: -10.0, east: -170.0, north: 10.0 }.boxes();
        assert_eq!(boxes.into_iter().map(|area| area.width()).collect::<Vec<_>>(), [10.0, 10.0]);
    }
}
